package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// breath is how long a flooder waits before it opens another connection for one that ended.
const breath = 50 * time.Millisecond

// flooding says how the flood is made.
type flooding struct {
	callers int
	rate    float64 // reviews a second of all callers together
	source  string  // the address to come from
}

// flooded is what came of it. Whoever reads it knows the other callers of benchmarks/flooder.py: the names are theirs.
type flooded struct {
	Sent     int            `json:"sent"`
	ByStatus map[string]int `json:"by_status"`
	Seconds  float64        `json:"seconds"`
}

// flood sends reviews at a rate, whatever is answered, until it is told to stop. It says "standing" once every caller has
// its connection. A caller that can't keep up does not catch up: it sends its next review when it has an answer.
func flood(target *target, bodies []body, plan flooding, stdout io.Writer) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	ended := make(chan struct{})
	var standing, group sync.WaitGroup
	counts := make([]map[string]int, plan.callers)
	standing.Add(plan.callers)
	interval := time.Duration(float64(plan.callers) / plan.rate * float64(time.Second))
	start := time.Now()
	for number := range plan.callers {
		counts[number] = map[string]int{}
		first := start.Add(interval * time.Duration(number) / time.Duration(plan.callers))
		group.Go(func() {
			one := &flooder{target: target, bodies: bodies, source: plan.source, counts: counts[number], ended: ended}
			one.work(first, interval, sync.OnceFunc(standing.Done))
		})
	}
	stood := make(chan struct{})
	go func() {
		standing.Wait()
		close(stood)
	}()
	select {
	case <-stood:
		fmt.Fprintln(stdout, "standing")
		<-stop
	case <-stop:
	}
	close(ended)
	seconds := time.Since(start).Seconds()
	group.Wait()
	found := flooded{ByStatus: map[string]int{}, Seconds: seconds}
	for _, one := range counts {
		for status, count := range one {
			found.ByStatus[status] += count
			found.Sent += count
		}
	}
	return json.NewEncoder(stdout).Encode(found)
}

// flooder is one caller of a flood.
type flooder struct {
	target *target
	bodies []body
	source string
	counts map[string]int
	ended  <-chan struct{}
}

// work opens one connection after the other, and sends reviews on each, until the flood is over.
func (flooder *flooder) work(due time.Time, interval time.Duration, stands func()) {
	for number := 0; !flooder.over(0); number++ {
		connection, err := flooder.open()
		if err != nil {
			flooder.over(breath)
			continue
		}
		stands()
		due = flooder.send(connection, due, interval)
		_ = connection.Close()
	}
	stands()
}

// over waits, and says whether the flood has ended.
func (flooder *flooder) over(wait time.Duration) bool {
	if wait <= 0 {
		select {
		case <-flooder.ended:
			return true
		default:
			return false
		}
	}
	select {
	case <-flooder.ended:
		return true
	case <-time.After(wait):
		return false
	}
}

func (flooder *flooder) open() (*tls.Conn, error) {
	local := &net.TCPAddr{IP: net.ParseIP(flooder.source)}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: answerTimeout, LocalAddr: local}, Config: flooder.target.tls}
	connection, err := dialer.Dial("tcp", flooder.target.address)
	if err != nil {
		return nil, err
	}
	return connection.(*tls.Conn), nil
}

// send sends reviews until the connection or the flood ends, and returns when the next one is due.
func (flooder *flooder) send(connection *tls.Conn, due time.Time, interval time.Duration) time.Time {
	one := &caller{target: flooder.target, random: rand.NewChaCha8(newSeed())}
	reader := bufio.NewReader(connection)
	finished := make(chan struct{})
	defer close(finished)
	go func() { // whoever waits for an answer is not waited for
		select {
		case <-flooder.ended:
			_ = connection.SetDeadline(time.Now())
		case <-finished:
		}
	}()
	for number := 0; !flooder.over(time.Until(due)); number++ {
		one.buffer = one.render(flooder.bodies[number%len(flooder.bodies)], one.newUID())
		status := "0"
		_, err := connection.Write(one.buffer)
		var answer *http.Response
		if err == nil {
			answer, err = http.ReadResponse(reader, nil)
		}
		if err == nil {
			status = strconv.Itoa(answer.StatusCode)
			_, err = io.Copy(io.Discard, answer.Body)
		}
		if err == nil || !flooder.over(0) {
			flooder.counts[status]++
		}
		if due = due.Add(interval); due.Before(time.Now()) {
			due = time.Now()
		}
		if err != nil || answer.Close {
			break
		}
	}
	return due
}
