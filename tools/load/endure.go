package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often files that say where to call and whom to trust are read again.
	lookEvery = 50 * time.Millisecond
	// tellEvery is how often the number of answers is printed.
	tellEvery = 50 * time.Millisecond
	// pauseAfterFailure keeps callers without a server from counting failures by the million.
	pauseAfterFailure = 10 * time.Millisecond
	// mostReasons are told.
	mostReasons = 20
	// idlePerHost and idleTimeout are those of an API server's client (client-go's transport cache).
	idlePerHost = 25
	idleTimeout = 90 * time.Second
)

var errNoEndpoints = errors.New("no endpoints available")

// endurance says how the load of a life cycle is made.
type endurance struct {
	endpoints, ca, cert, key string
	allowed, refused         string
	name, path, answers      string
	eachCall                 bool
	callers, count           int
	rate                     float64
	timeout                  time.Duration
}

// endured is what came out.
type endured struct {
	Sent     int            `json:"sent"`
	Allowed  int            `json:"allowed"`
	Refused  int            `json:"refused"`
	Wrong    int            `json:"wrong"`
	Failed   int            `json:"failed"`
	Reasons  map[string]int `json:"reasons"`
	Dials    int            `json:"dials"`
	Seconds  float64        `json:"seconds"`
	P50      float64        `json:"p50_us"`
	P99      float64        `json:"p99_us"`
	Max      float64        `json:"max_us"`
	Address  map[string]int `json:"dials_by_address"`
	Endpoint int            `json:"endpoint_changes"`
	Clients  int            `json:"clients"`
}

// endpoints is where a Service leads at this moment.
type endpoints struct {
	addresses atomic.Pointer[[]string]
	changes   atomic.Int64
}

func (endpoints *endpoints) read(path string) {
	content, err := os.ReadFile(path)
	if err != nil {
		return // it is being replaced
	}
	found := strings.Fields(string(content))
	if before := endpoints.addresses.Load(); before == nil || !slices.Equal(*before, found) {
		endpoints.addresses.Store(&found)
		endpoints.changes.Add(1)
	}
}

func (endpoints *endpoints) pick() (string, error) {
	addresses := *endpoints.addresses.Load()
	if len(addresses) == 0 {
		return "", errNoEndpoints
	}
	return addresses[rand.IntN(len(addresses))], nil
}

// client is the HTTP client for one trust: an API server makes another one for another caBundle.
type client struct {
	http *http.Client
	key  string
}

// run is one load.
type running struct {
	endurance
	endpoints endpoints
	current   atomic.Pointer[client]
	clients   int
	mutex     sync.Mutex
	result    endured
	latencies []float64
	answers   *bufio.Writer
	done      atomic.Int64
}

// refresh reads the files that say where to call and whom to trust.
func (running *running) refresh() error {
	running.endpoints.read(running.endurance.endpoints)
	var files []string
	for _, path := range []string{running.ca, running.cert, running.key} {
		if path == "" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files = append(files, string(content))
	}
	key := strings.Join(files, "\x00")
	if before := running.current.Load(); before != nil && before.key == key {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(files[0])) {
		return fmt.Errorf("%s has no certificate", running.ca)
	}
	trust := &tls.Config{RootCAs: roots, ServerName: running.name, NextProtos: []string{"http/1.1"}}
	if len(files) == 3 {
		pair, err := tls.X509KeyPair([]byte(files[1]), []byte(files[2]))
		if err != nil {
			return err
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	running.clients++
	running.current.Store(&client{http: running.newHTTP(trust), key: key})
	return nil
}

func (running *running) newHTTP(trust *tls.Config) *http.Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:     trust,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: idlePerHost,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if !running.eachCall {
				var err error
				if address, err = running.endpoints.pick(); err != nil {
					return nil, err
				}
			}
			running.mutex.Lock()
			running.result.Dials++
			running.result.Address[address]++
			running.mutex.Unlock()
			return dialer.DialContext(ctx, network, address)
		},
	}}
}

// ask sends one review and returns whether it was allowed.
func (running *running) ask(body, uid []byte) (bool, error) {
	host := running.name + ":443" // connections are pooled by the Service, whichever endpoint they lead to
	if running.eachCall {
		var err error
		if host, err = running.endpoints.pick(); err != nil {
			return false, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), running.timeout)
	defer cancel()
	url := fmt.Sprintf("https://%s%s?timeout=%s", host, running.path, running.timeout)
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	call.Host = running.name
	call.Header.Set("Content-Type", "application/json")
	call.Header.Set("Accept", "application/json, */*")
	call.Header.Set("User-Agent", "kube-apiserver-admission")
	answer, err := running.current.Load().http.Do(call)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return false, err
	}
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("HTTP %s: %.200s", answer.Status, content)
	}
	return readAnswer(content, uid)
}

// work sends reviews until there are enough and nobody wants more.
func (running *running) work(schedule *schedule, allowed, refused []body, enough func(int) bool) {
	caller := &caller{random: rand.NewChaCha8(newSeed())}
	for {
		number, since, _ := schedule.take()
		if enough(number) {
			return
		}
		// One in ten must be refused: a gate that allows everything has lost its way too.
		wanted := len(refused) == 0 || number%10 != 9
		reviews := allowed
		if !wanted {
			reviews = refused
		}
		chosen := reviews[number%len(reviews)]
		uid := caller.newUID()
		raw := slices.Concat(chosen.head, uid, chosen.tail)
		got, err := running.ask(raw, uid)
		running.note(uid, wanted, got, err, time.Since(since))
		if err != nil {
			time.Sleep(pauseAfterFailure)
		}
	}
}

func (running *running) note(uid []byte, wanted, got bool, err error, took time.Duration) {
	verdict := "refused"
	if got {
		verdict = "allowed"
	}
	if err != nil {
		verdict = "failed"
	}
	running.done.Add(1)
	running.mutex.Lock()
	defer running.mutex.Unlock()
	result := &running.result
	result.Sent++
	running.latencies = append(running.latencies, float64(took.Nanoseconds())/1e3)
	fmt.Fprintf(running.answers, "%s %s\n", uid, verdict)
	if err != nil {
		result.Failed++
		if reason := err.Error(); result.Reasons[reason] > 0 || len(result.Reasons) < mostReasons {
			result.Reasons[reason]++
		}
		return
	}
	if got {
		result.Allowed++
	} else {
		result.Refused++
	}
	if got != wanted {
		result.Wrong++
	}
}

// endure sends reviews while things happen to the webhook, until there are enough and stdin has ended.
func endure(plan endurance, stdin io.Reader, stdout io.Writer) error {
	allowed, err := loadReviews(plan.allowed)
	if err != nil {
		return err
	}
	var refused []body
	if plan.refused != "" {
		if refused, err = loadReviews(plan.refused); err != nil {
			return err
		}
	}
	file, err := os.Create(plan.answers)
	if err != nil {
		return err
	}
	defer file.Close()
	running := &running{endurance: plan, answers: bufio.NewWriter(file)}
	running.result = endured{Reasons: map[string]int{}, Address: map[string]int{}}
	if err := running.refresh(); err != nil {
		return err
	}
	if running.endpoints.addresses.Load() == nil {
		return fmt.Errorf("%s can't be read", plan.endpoints)
	}
	if err := running.loop(allowed, refused, stdin, stdout); err != nil {
		return err
	}
	if err := running.answers.Flush(); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(running.summary())
}

func (running *running) loop(allowed, refused []body, stdin io.Reader, stdout io.Writer) error {
	var wanted atomic.Bool // until stdin ends, more are
	wanted.Store(true)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		wanted.Store(false)
	}()
	enough := func(number int) bool { return number >= running.count && !wanted.Load() }
	// The schedule's own end is never reached.
	schedule := &schedule{start: time.Now(), plan: plan{measure: 24 * time.Hour, rate: running.rate}}
	var group sync.WaitGroup
	for range running.callers {
		group.Go(func() { running.work(schedule, allowed, refused, enough) })
	}
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	look, tell := time.NewTicker(lookEvery), time.NewTicker(tellEvery)
	defer look.Stop()
	defer tell.Stop()
	for {
		select {
		case <-look.C:
			if err := running.refresh(); err != nil {
				continue // a file is being replaced; the next look reads it whole
			}
		case <-tell.C:
			fmt.Fprintln(stdout, running.done.Load())
		case <-ended:
			running.result.Seconds = time.Since(schedule.start).Seconds()
			return nil
		}
	}
}

func (running *running) summary() *endured {
	running.mutex.Lock()
	defer running.mutex.Unlock()
	result := running.result
	result.Endpoint = int(running.endpoints.changes.Load()) - 1
	result.Clients = running.clients
	if len(running.latencies) > 0 {
		slices.Sort(running.latencies)
		result.P50, result.P99 = quantile(running.latencies, 0.5), quantile(running.latencies, 0.99)
		result.Max = running.latencies[len(running.latencies)-1]
	}
	return &result
}

func newSeed() [32]byte {
	var seed [32]byte
	for index := range seed {
		seed[index] = byte(rand.Uint32())
	}
	return seed
}
