package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const asked = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"` + uidPlace + `"}}`

// started serves a handler over TLS and returns the options that reach it.
func started(t *testing.T, handler http.Handler) []string {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	folder := t.TempDir()
	ca := filepath.Join(folder, "ca.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	reviews := filepath.Join(folder, "reviews.jsonl")
	if err := os.WriteFile(reviews, []byte(asked+"\n"+asked+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-url", server.URL + "/admit?timeout=10s", "-ca", ca, "-reviews", reviews}
}

func driven(t *testing.T, options ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(append([]string{"drive"}, options...), &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	var found result
	if err := json.Unmarshal(stdout.Bytes(), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEveryReviewHasItsOwnUIDAndIsCounted(t *testing.T) {
	var mutex sync.Mutex
	uids := map[string]bool{}
	allow := newAllower()
	options := started(t, http.HandlerFunc(func(writer http.ResponseWriter, call *http.Request) {
		recorder := httptest.NewRecorder()
		allow.ServeHTTP(recorder, call)
		var answer review
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err == nil && call.ContentLength == int64(len(asked)) {
			mutex.Lock()
			uids[answer.Response.UID] = true
			mutex.Unlock()
		}
		_, _ = writer.Write(recorder.Body.Bytes())
	}))
	found := driven(t, append(options, "-callers", "4", "-seconds", "0.5", "-warmup", "0.5")...)
	if found.Answered == 0 || found.Answered != found.Sent || found.Answered != len(uids) {
		t.Fatalf("%d answered, %d sent, %d uids", found.Answered, found.Sent, len(uids))
	}
	if found.Measured == 0 || found.Measured >= found.Answered || found.Unexpected+found.Failed+found.Reconnects != 0 {
		t.Fatalf("%+v", found)
	}
	if found.P50 <= 0 || found.P50 > found.P90 || found.P90 > found.P99 || found.P99 > found.Max {
		t.Fatalf("percentiles out of order: %+v", found)
	}
}

func TestReviewsAreTakenInTurnsFromTheFirst(t *testing.T) {
	var mutex sync.Mutex
	var order []string
	allow := newAllower()
	options := started(t, http.HandlerFunc(func(writer http.ResponseWriter, call *http.Request) {
		mutex.Lock()
		order = append(order, call.Header.Get("Content-Length"))
		mutex.Unlock()
		allow.ServeHTTP(writer, call)
	}))
	reviews := options[5]
	lines := asked + "\n" + strings.Replace(asked, "}}", `,"a":1}}`, 1) + "\n" + strings.Replace(asked, "}}", `,"ab":1}}`, 1)
	if err := os.WriteFile(reviews, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	driven(t, append(options, "-callers", "1", "-seconds", "0.1", "-rate", "50", "-first", "4")...)
	size := len(asked)
	for index, expected := range []int{size + 6, size + 7, size, size + 6} {
		if found := order[index]; found != fmt.Sprint(expected) {
			t.Fatalf("the sizes were %v", order)
		}
	}
}

func TestAFixedRateIsKeptAndAWaitingReviewCounts(t *testing.T) {
	const slow = 40 * time.Millisecond
	allow := newAllower()
	options := started(t, http.HandlerFunc(func(writer http.ResponseWriter, call *http.Request) {
		time.Sleep(slow)
		allow.ServeHTTP(writer, call)
	}))
	// One caller reaches 25 a second at most; due are 50, so that the last one has waited for half a second.
	found := driven(t, append(options, "-callers", "1", "-seconds", "1", "-rate", "50")...)
	if found.Sent != 50 || found.Answered != 50 {
		t.Fatalf("%+v", found)
	}
	if found.Max < 500e3 || found.P50 < 250e3 {
		t.Fatalf("the time that reviews waited is left out: %+v", found)
	}
}

func TestUnexpectedAnswersFailuresAndClosedConnectionsAreTold(t *testing.T) {
	var mutex sync.Mutex
	number := 0
	options := started(t, http.HandlerFunc(func(writer http.ResponseWriter, call *http.Request) {
		var found review
		_ = json.NewDecoder(call.Body).Decode(&found)
		mutex.Lock()
		number++
		now := number
		mutex.Unlock()
		switch now % 4 {
		case 0:
			fmt.Fprintf(writer, `{"response": {"uid": %q, "allowed": false}}`, found.Request.UID)
		case 1:
			writer.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			fmt.Fprint(writer, `{"response":{"uid":"another","allowed":true}}`)
		default:
			writer.Header().Set("Connection", "close")
			fmt.Fprintf(writer, `{"response":{"uid":%q,"allowed":true,"m":"\"allowed\":false"}}`, found.Request.UID)
		}
	}))
	found := driven(t, append(options, "-callers", "1", "-seconds", "1", "-rate", "40")...)
	if found.Sent != 40 || found.Unexpected != 10 || found.Failed != 20 || found.Answered != 20 {
		t.Fatalf("%+v", found)
	}
	if found.Reconnects != 29 && found.Reconnects != 30 || !strings.Contains(found.FirstFailure, "503") {
		t.Fatalf("%+v", found)
	}
}

func TestAnswersOfOtherShapesAreFailures(t *testing.T) {
	for _, content := range []string{"", "<html>", `{"response":{"uid":"u"}}`, `{"response":{"uid":"u","allowed":1}}`} {
		if _, err := readAnswer([]byte(content), []byte("u")); err == nil {
			t.Errorf("%q was taken for an answer", content)
		}
	}
}

func TestQuantilesAreByNearestRank(t *testing.T) {
	values := make([]float64, 100)
	for index := range values {
		values[index] = float64(index + 1)
	}
	for part, expected := range map[float64]float64{0.5: 50, 0.9: 90, 0.99: 99, 1: 100} {
		if found := quantile(values, part); found != expected {
			t.Errorf("quantile %v is %v, not %v", part, found, expected)
		}
	}
	if found := quantile([]float64{7}, 0.5); found != 7 {
		t.Errorf("the median of one value is %v", found)
	}
}

func TestWrongUsageIsTold(t *testing.T) {
	options := started(t, newAllower())
	for _, arguments := range [][]string{
		nil,
		{"push"},
		{"drive"},
		append([]string{"drive", "-callers", "0"}, options...),
		append([]string{"drive", "-expect", "maybe"}, options...),
		{"allow"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(arguments, &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), "Usage") {
			t.Errorf("%v: status %d, %s", arguments, status, stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	if status := run([]string{"--help"}, &stdout, &stderr); status != 0 || !strings.Contains(stdout.String(), "drive") {
		t.Errorf("--help: status %d", status)
	}
}

func TestAnAddressWithoutAServerIsAnError(t *testing.T) {
	options := started(t, newAllower())
	options[1] = "https://127.0.0.1:1/"
	var stdout, stderr bytes.Buffer
	if status := run(append([]string{"drive"}, options...), &stdout, &stderr); status != 1 {
		t.Errorf("status %d: %s", status, stderr.String())
	}
}
