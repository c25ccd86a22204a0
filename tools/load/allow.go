package main

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
)

// maxReview is more than an API server sends: objects are limited to 1.5 MiB, and an update carries two.
const maxReview = 4 << 20

// review is what the webhook that allows everything reads of an AdmissionReview.
type review struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Request    *request  `json:"request,omitempty"`
	Response   *response `json:"response,omitempty"`
}

type request struct {
	UID string `json:"uid"`
}

type response struct {
	UID     string `json:"uid"`
	Allowed bool   `json:"allowed"`
}

// allower is a webhook that allows everything, and counts its callers' protocols.
type allower struct {
	mutex     sync.Mutex
	protocols map[string]int
}

func newAllower() http.Handler {
	server := &allower{protocols: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", server.admit)
	mux.HandleFunc("GET /protocols", server.report)
	return mux
}

func (server *allower) admit(writer http.ResponseWriter, call *http.Request) {
	body, err := io.ReadAll(io.LimitReader(call.Body, maxReview))
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	var asked review
	if err := json.Unmarshal(body, &asked); err != nil || asked.Request == nil {
		http.Error(writer, "this is no AdmissionReview", http.StatusBadRequest)
		return
	}
	server.mutex.Lock()
	server.protocols[call.Proto]++
	server.mutex.Unlock()
	answer := review{
		APIVersion: asked.APIVersion,
		Kind:       asked.Kind,
		Response:   &response{UID: asked.Request.UID, Allowed: true},
	}
	writer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(writer).Encode(answer) // a caller that has gone gets no answer
}

func (server *allower) report(writer http.ResponseWriter, _ *http.Request) {
	server.mutex.Lock()
	defer server.mutex.Unlock()
	writer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(writer).Encode(server.protocols)
}

func serveAllow(address, cert, key string) error {
	server := &http.Server{Addr: address, Handler: newAllower()}
	return server.ListenAndServeTLS(cert, key)
}
