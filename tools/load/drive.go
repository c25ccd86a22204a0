package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// uidPlace is what a review carries where its uid goes.
	uidPlace = "00000000-0000-0000-0000-000000000000"
	// answerTimeout is longer than the longest that an API server waits.
	answerTimeout = 35 * time.Second
	// maxAnswer is more than any webhook of the comparison says.
	maxAnswer = 1 << 20
	// hopeless many failures in a row end a caller: there is nothing to measure.
	hopeless = 50
)

// target is where reviews go.
type target struct {
	address string
	host    string
	path    string
	tls     *tls.Config
}

// plan says how the load is made.
type plan struct {
	callers int
	warmup  time.Duration
	measure time.Duration
	rate    float64 // reviews a second; 0: as fast as the answers come
	first   int     // line of the first review
	allowed bool    // what every answer is expected to say
}

// body is a review cut where its uid goes.
type body struct {
	head, tail []byte
}

// result is what came out; latencies are in microseconds.
type result struct {
	Sent         int     `json:"sent"`
	Answered     int     `json:"answered"`
	Unexpected   int     `json:"unexpected"`
	Failed       int     `json:"failed"`
	FirstFailure string  `json:"first_failure"`
	Reconnects   int     `json:"reconnects"`
	TLS          string  `json:"tls"`
	Measured     int     `json:"measured"`
	Seconds      float64 `json:"seconds"`
	PerS         float64 `json:"per_s"`
	Mean         float64 `json:"mean_us"`
	P50          float64 `json:"p50_us"`
	P90          float64 `json:"p90_us"`
	P99          float64 `json:"p99_us"`
	Max          float64 `json:"max_us"`
}

func newTarget(raw, caFile string) (*target, error) {
	parsed, err := url.Parse(raw)
	if err != nil || parsed.Scheme != "https" || parsed.Port() == "" {
		return nil, fmt.Errorf("%w: %q is not https://HOST:PORT/PATH", errUsage, raw)
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", caFile)
	}
	return &target{
		address: parsed.Host,
		host:    parsed.Host,
		path:    parsed.RequestURI(),
		tls: &tls.Config{
			RootCAs:    roots,
			ServerName: parsed.Hostname(),
			MinVersion: tls.VersionTLS12,
			NextProtos: []string{"http/1.1"}, // what an API server speaks to a Service
		},
	}, nil
}

// loadReviews reads a file with one review a line.
func loadReviews(path string) ([]body, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var bodies []body
	for line := range bytes.Lines(content) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		head, tail, found := bytes.Cut(line, []byte(uidPlace))
		if !found {
			return nil, fmt.Errorf("%s: review %d has no place for its uid", path, len(bodies)+1)
		}
		bodies = append(bodies, body{head: head, tail: tail})
	}
	if len(bodies) == 0 {
		return nil, fmt.Errorf("%s has no review", path)
	}
	return bodies, nil
}

// schedule hands out reviews, and the moments at which they are due.
type schedule struct {
	plan  plan
	start time.Time
	next  atomic.Int64
}

// take gives the number of the next review and the moment that its latency counts from; false when the time is over.
func (schedule *schedule) take() (int, time.Time, bool) {
	number := int(schedule.next.Add(1) - 1)
	end := schedule.start.Add(schedule.plan.warmup + schedule.plan.measure)
	now := time.Now()
	if schedule.plan.rate == 0 {
		return number, now, now.Before(end)
	}
	due := schedule.start.Add(time.Duration(float64(number) / schedule.plan.rate * float64(time.Second)))
	if !due.Before(end) {
		return number, due, false
	}
	if wait := due.Sub(now); wait > 0 {
		time.Sleep(wait)
		// Sleeping ends up to a millisecond late, which is not the server's fault; a caller that was busy is.
		due = time.Now()
	}
	return number, due, true
}

// caller is one keep-alive connection.
type caller struct {
	target     *target
	connection *tls.Conn
	reader     *bufio.Reader
	buffer     []byte
	result     result
	latencies  []float64
	last       time.Time
	random     *rand.ChaCha8
}

// drive sends the load; callers are shared out among the targets.
func drive(targets []*target, bodies []body, plan plan) (*result, error) {
	callers := make([]*caller, plan.callers)
	for number := range callers {
		var seed [32]byte
		for index := range seed {
			seed[index] = byte(rand.Uint32())
		}
		callers[number] = &caller{target: targets[number%len(targets)], random: rand.NewChaCha8(seed)}
		if err := callers[number].connect(); err != nil {
			return nil, err
		}
	}
	schedule := &schedule{plan: plan, start: time.Now()}
	errs := make([]error, len(callers))
	var group sync.WaitGroup
	for number, one := range callers {
		group.Go(func() { errs[number] = one.work(schedule, bodies) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return merge(callers, schedule.start.Add(plan.warmup)), nil
}

// work sends reviews until the time is over.
func (caller *caller) work(schedule *schedule, bodies []body) error {
	measuredFrom := schedule.start.Add(schedule.plan.warmup)
	inARow := 0
	for {
		number, since, more := schedule.take()
		if !more {
			break
		}
		caller.result.Sent++
		allowed, err := caller.ask(bodies[(schedule.plan.first+number)%len(bodies)])
		done := time.Now()
		if err != nil {
			caller.fail(err)
			if inARow++; inARow == hopeless {
				return fmt.Errorf("%d calls failed in a row: %w", hopeless, err)
			}
			continue
		}
		inARow = 0
		caller.result.Answered++
		if allowed != schedule.plan.allowed {
			caller.result.Unexpected++
		}
		if !since.Before(measuredFrom) {
			caller.latencies = append(caller.latencies, float64(done.Sub(since).Nanoseconds())/1e3)
			caller.last = done
		}
	}
	if caller.connection != nil {
		return caller.connection.Close()
	}
	return nil
}

func (caller *caller) fail(err error) {
	caller.result.Failed++
	if caller.result.FirstFailure == "" {
		caller.result.FirstFailure = err.Error()
	}
	caller.disconnect()
}

func (caller *caller) disconnect() {
	if caller.connection != nil {
		_ = caller.connection.Close()
		caller.connection = nil
	}
}

func (caller *caller) connect() error {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: answerTimeout}, Config: caller.target.tls}
	connection, err := dialer.Dial("tcp", caller.target.address)
	if err != nil {
		return err
	}
	caller.connection = connection.(*tls.Conn)
	caller.reader = bufio.NewReader(connection)
	state := caller.connection.ConnectionState()
	caller.result.TLS = tls.VersionName(state.Version) + " " + tls.CipherSuiteName(state.CipherSuite)
	return nil
}

// ask sends one review and returns whether it was allowed.
func (caller *caller) ask(body body) (bool, error) {
	if caller.connection == nil {
		caller.result.Reconnects++
		if err := caller.connect(); err != nil {
			return false, err
		}
	}
	uid := caller.newUID()
	caller.buffer = caller.render(body, uid)
	if err := caller.connection.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return false, err
	}
	if _, err := caller.connection.Write(caller.buffer); err != nil {
		return false, err
	}
	answer, err := http.ReadResponse(caller.reader, nil)
	if err != nil {
		return false, err
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return false, err
	}
	if answer.Close {
		caller.disconnect()
	}
	if answer.StatusCode != http.StatusOK {
		return false, fmt.Errorf("HTTP %s: %.200s", answer.Status, content)
	}
	return readAnswer(content, uid)
}

// render makes the request, in the caller's own buffer.
func (caller *caller) render(body body, uid []byte) []byte {
	buffer := append(caller.buffer[:0], "POST "...)
	buffer = append(buffer, caller.target.path...)
	buffer = append(buffer, " HTTP/1.1\r\nHost: "...)
	buffer = append(buffer, caller.target.host...)
	buffer = append(buffer, "\r\nUser-Agent: kube-apiserver-admission\r\nAccept: application/json, */*"...)
	buffer = append(buffer, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	buffer = strconv.AppendInt(buffer, int64(len(body.head)+len(uid)+len(body.tail)), 10)
	buffer = append(buffer, "\r\n\r\n"...)
	buffer = append(buffer, body.head...)
	buffer = append(buffer, uid...)
	return append(buffer, body.tail...)
}

// newUID makes a random UUID as an API server does.
func (caller *caller) newUID() []byte {
	var raw [16]byte
	_, _ = caller.random.Read(raw[:]) // never fails, by its documentation
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	text := []byte(uidPlace)
	hex.Encode(text[0:8], raw[0:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:36], raw[10:16])
	return text
}

// readAnswer finds the verdict. A full parse would cost the two cores more than the answer of the fastest server: a
// quote inside a JSON string is escaped, so that the name with both its quotes is a member's.
func readAnswer(content, uid []byte) (bool, error) {
	_, rest, found := bytes.Cut(content, []byte(`"allowed"`))
	if !found || !bytes.Contains(content, uid) {
		return false, fmt.Errorf("this does not answer the review: %.200s", content)
	}
	rest = bytes.TrimLeft(rest, " :")
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		return true, nil
	case bytes.HasPrefix(rest, []byte("false")):
		return false, nil
	}
	return false, fmt.Errorf("this says neither true nor false: %.200s", content)
}

// merge adds up the callers.
func merge(callers []*caller, measuredFrom time.Time) *result {
	total := result{}
	var latencies []float64
	last := measuredFrom
	for _, one := range callers {
		total.Sent += one.result.Sent
		total.Answered += one.result.Answered
		total.Unexpected += one.result.Unexpected
		total.Failed += one.result.Failed
		total.Reconnects += one.result.Reconnects
		if total.FirstFailure == "" {
			total.FirstFailure = one.result.FirstFailure
		}
		total.TLS = one.result.TLS
		latencies = append(latencies, one.latencies...)
		if one.last.After(last) {
			last = one.last
		}
	}
	total.Measured = len(latencies)
	total.Seconds = last.Sub(measuredFrom).Seconds()
	if total.Measured == 0 {
		return &total
	}
	slices.Sort(latencies)
	sum := 0.0
	for _, one := range latencies {
		sum += one
	}
	total.PerS = float64(total.Measured) / total.Seconds
	total.Mean = sum / float64(total.Measured)
	total.P50, total.P90, total.P99 = quantile(latencies, 0.5), quantile(latencies, 0.9), quantile(latencies, 0.99)
	total.Max = latencies[len(latencies)-1]
	return &total
}

// quantile is the smallest value that so large a part of the sorted values does not exceed (nearest rank).
func quantile(sorted []float64, part float64) float64 {
	rank := int(part*float64(len(sorted)) + 0.999999999)
	return sorted[max(rank, 1)-1]
}
