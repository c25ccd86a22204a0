package main

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// judge answers reviews; those that say "refuse" are refused.
func judge(writer http.ResponseWriter, call *http.Request) {
	content, _ := io.ReadAll(call.Body)
	var asked review
	_ = json.Unmarshal(content, &asked)
	allowed := !strings.Contains(string(content), "refuse")
	_ = json.NewEncoder(writer).Encode(review{Response: &response{UID: asked.Request.UID, Allowed: allowed}})
}

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// swap replaces a file at once.
func swap(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func certificate(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func address(server *httptest.Server) string {
	return strings.TrimPrefix(server.URL, "https://")
}

func prepared(t *testing.T, server *httptest.Server) endurance {
	t.Helper()
	return endurance{
		endpoints: file(t, "endpoints", address(server)),
		ca:        file(t, "ca.crt", certificate(server)),
		allowed:   file(t, "allowed", asked),
		refused:   file(t, "refused", strings.Replace(asked, "AdmissionReview", "refuse", 1)),
		answers:   file(t, "answers", ""),
		name:      "example.com", // one of the names of the test server's certificate
		path:      "/v1/admit/production",
		callers:   4,
		count:     200,
		timeout:   10 * time.Second,
	}
}

// enduring runs until between has returned and the count is reached.
func enduring(t *testing.T, plan endurance, between func()) endured {
	t.Helper()
	stdin, more := io.Pipe()
	printed, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := endure(plan, stdin, stdout)
		stdout.Close()
		ended <- err
	}()
	go func() {
		between()
		more.Close()
	}()
	content, _ := io.ReadAll(printed)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	var found endured
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func until(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("it did not happen")
			return
		}
	}
}

func TestEveryTenthReviewMustBeRefusedAndEveryAnswerIsKept(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(judge))
	defer server.Close()
	for _, eachCall := range []bool{false, true} {
		plan := prepared(t, server)
		plan.eachCall = eachCall
		found := enduring(t, plan, func() {})
		if found.Sent != 200 || found.Allowed != 180 || found.Refused != 20 || found.Wrong+found.Failed != 0 {
			t.Fatalf("%+v", found)
		}
		content, _ := os.ReadFile(plan.answers)
		lines := strings.Split(strings.TrimSpace(string(content)), "\n")
		uids := map[string]bool{}
		for _, line := range lines {
			uids[strings.Fields(line)[0]] = true
		}
		if len(lines) != 200 || len(uids) != 200 || strings.Count(string(content), " refused\n") != 20 {
			t.Fatalf("%d lines, %d uids", len(lines), len(uids))
		}
		if found.Dials < 1 || found.Dials > 50 || found.Clients != 1 || found.P50 <= 0 || found.P50 > found.Max {
			t.Fatalf("%+v", found)
		}
	}
}

func TestOtherVerdictsAndOtherAnswersAreCounted(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, call *http.Request) {
		content, _ := io.ReadAll(call.Body)
		if strings.Contains(string(content), "refuse") {
			writer.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var review review
		_ = json.Unmarshal(content, &review)
		review.Response = &response{UID: review.Request.UID, Allowed: false}
		_ = json.NewEncoder(writer).Encode(review)
	}))
	defer server.Close()
	found := enduring(t, prepared(t, server), func() {})
	if found.Wrong != 180 || found.Failed != 20 || len(found.Reasons) != 1 {
		t.Fatalf("%+v", found)
	}
}

func TestCallsFollowTheEndpointsAndAnotherAuthority(t *testing.T) {
	var first, second atomic.Int64
	servers := []*httptest.Server{}
	for _, counter := range []*atomic.Int64{&first, &second} {
		servers = append(servers, httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, call *http.Request) {
			counter.Add(1)
			writer.Header().Set("Connection", "close")
			judge(writer, call)
		})))
	}
	defer servers[0].Close()
	defer servers[1].Close()
	plan := prepared(t, servers[0])
	var seen []int64
	found := enduring(t, plan, func() {
		until(t, func() bool { return first.Load() > 50 })
		swap(t, plan.endpoints, address(servers[1])+"\n")
		until(t, func() bool { return second.Load() > 50 })
		seen = append(seen, first.Load())
		swap(t, plan.ca, certificate(servers[0])+"\n"+certificate(servers[1]))
		before := second.Load()
		until(t, func() bool { return second.Load() > before+100 })
		seen = append(seen, first.Load())
		time.Sleep(2 * lookEvery)
	})
	if found.Failed+found.Wrong != 0 || found.Endpoint != 1 || found.Clients != 2 || !slices.Equal(seen[:1], seen[1:]) {
		t.Fatalf("%+v %v", found, seen)
	}
}

func TestWithoutEndpointsACallFails(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(judge))
	defer server.Close()
	plan := prepared(t, server)
	swap(t, plan.endpoints, "")
	plan.count = 8
	found := enduring(t, plan, func() {})
	if found.Failed != 8 || !strings.Contains(strings.Join(keys(found.Reasons), " "), errNoEndpoints.Error()) {
		t.Fatalf("%+v", found)
	}
}

func keys(counts map[string]int) []string {
	var found []string
	for key := range counts {
		found = append(found, key)
	}
	return found
}

func TestWrongUsageOfEndureIsTold(t *testing.T) {
	for _, options := range [][]string{nil, {"-endpoints", "x"}, {"-resolve", "never"}, {"-cert", "only"}} {
		if err := endureCommand(options, strings.NewReader(""), io.Discard); err == nil {
			t.Errorf("%v was taken", options)
		}
	}
}
