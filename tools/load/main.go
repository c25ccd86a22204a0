// Command load measures admission webhooks from outside: it sends AdmissionReviews over TLS as an
// API server does, counts every answer that is not the expected one, and prints rates and latencies.
// It also is the webhook that they are all compared with: one that allows everything.
//
// Exit status: 0 measured, 1 could not measure, 2 wrong usage.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const usage = `load sends AdmissionReviews to a webhook and measures the answers.

Usage:
  load drive -url URL [-url URL ...] -ca FILE -reviews FILE [-callers N] [-seconds S] [-rate R] [-warmup S] [-first N]
             [-expect allowed|refused]
  load endure -endpoints FILE -ca FILE -allowed FILE -answers FILE [-refused FILE] [-name HOST] [-path PATH]
              [-cert FILE -key FILE] [-callers N] [-count N] [-rate R] [-timeout S] [-resolve dial|call]
  load flood -url URL -ca FILE -reviews FILE -rate R [-callers N] [-source ADDRESS]
  load allow -address HOST:PORT -cert FILE -key FILE

drive  HTTP/1.1 over TLS, one keep-alive connection a caller; several URLs get a caller in turn. The file has one review a line; each is sent with a
       uid of its own in the place of 00000000-0000-0000-0000-000000000000, and the lines are taken in turns, beginning
       with line -first (0 is the first).
       Without -rate every caller sends its next review when it has its answer. With -rate so many a second are
       sent whatever the answers take, and a latency counts from when the review was due. Prints JSON:
         sent        reviews that were written, those of the warm-up among them
         answered    answers with status 200 and the review's uid, those of the warm-up among them
         unexpected  answered otherwise than -expect
         failed      no such answer; first_failure says what came instead
         reconnects  connections beyond the first of each caller
         measured    answers after the warm-up, which per_s and the latencies (microseconds) are of
endure calls as an API server does while things happen to the webhook: Go's own HTTP client with an API server's
       settings, connections pooled by -name, which leads to one of the addresses (HOST:PORT, one a line) in -endpoints:
       one that is chosen for each connection (-resolve dial, API servers before 1.37) or for each call (call). The
       files of endpoints and certificates are read again when they change; another -ca makes another client. Nine of
       ten reviews are from -allowed and must be, one is from -refused. It goes on until stdin ends and -count reviews
       were sent. Prints how many were answered 20 times a second, and then JSON: sent, allowed, refused, wrong (not
       the expected verdict), failed with reasons, dials, latencies. -answers gets uid and verdict of each review.
flood  reviews at a rate from -source, whatever is answered, until SIGTERM. Prints "standing" once every caller is
       connected, and in the end JSON: sent, by_status (HTTP status, 0 for no answer), seconds.
allow  a webhook that reads a review and allows it. GET /protocols says which protocols its callers spoke.
Exit status: 0 measured, 1 could not measure, 2 wrong usage.
`

// errUsage marks a command line that cannot be carried out.
var errUsage = errors.New("wrong usage")

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out one command line and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help") {
		fmt.Fprint(stdout, usage)
		return 0
	}
	err := dispatch(args, os.Stdin, stdout)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "load: %v\n\n%s", err, usage)
		return 2
	case err != nil:
		fmt.Fprintf(stderr, "load: %v\n", err)
		return 1
	}
	return 0
}

// dispatch runs the named command.
func dispatch(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no command given", errUsage)
	}
	switch args[0] {
	case "drive":
		return driveCommand(args[1:], stdout)
	case "endure":
		return endureCommand(args[1:], stdin, stdout)
	case "flood":
		return floodCommand(args[1:], stdout)
	case "allow":
		return allowCommand(args[1:])
	}
	return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
}

func driveCommand(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("drive", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var urls []string
	flags.Func("url", "", func(url string) error {
		urls = append(urls, url)
		return nil
	})
	ca := flags.String("ca", "", "")
	reviews := flags.String("reviews", "", "")
	callers := flags.Int("callers", 1, "")
	seconds := flags.Float64("seconds", 3, "")
	warmup := flags.Float64("warmup", 0, "")
	rate := flags.Float64("rate", 0, "")
	first := flags.Int("first", 0, "")
	expect := flags.String("expect", "allowed", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if len(urls) == 0 || *ca == "" || *reviews == "" || flags.NArg() > 0 || *callers < 1 || *seconds <= 0 || *rate < 0 ||
		*warmup < 0 || *first < 0 || (*expect != "allowed" && *expect != "refused") {
		return fmt.Errorf("%w: drive needs -url, -ca and -reviews, and values that make sense", errUsage)
	}
	var targets []*target
	for _, url := range urls {
		one, err := newTarget(url, *ca)
		if err != nil {
			return err
		}
		targets = append(targets, one)
	}
	bodies, err := loadReviews(*reviews)
	if err != nil {
		return err
	}
	result, err := drive(targets, bodies, plan{
		callers: *callers,
		warmup:  time.Duration(*warmup * float64(time.Second)),
		measure: time.Duration(*seconds * float64(time.Second)),
		rate:    *rate,
		first:   *first,
		allowed: *expect == "allowed",
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(result)
}

func endureCommand(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("endure", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var plan endurance
	flags.StringVar(&plan.endpoints, "endpoints", "", "")
	flags.StringVar(&plan.ca, "ca", "", "")
	flags.StringVar(&plan.cert, "cert", "", "")
	flags.StringVar(&plan.key, "key", "", "")
	flags.StringVar(&plan.allowed, "allowed", "", "")
	flags.StringVar(&plan.refused, "refused", "", "")
	flags.StringVar(&plan.answers, "answers", "", "")
	flags.StringVar(&plan.name, "name", "localhost", "")
	flags.StringVar(&plan.path, "path", "/v1/admit/production", "")
	flags.IntVar(&plan.callers, "callers", 8, "")
	flags.IntVar(&plan.count, "count", 1000, "")
	flags.Float64Var(&plan.rate, "rate", 0, "")
	seconds := flags.Int("timeout", 10, "")
	resolve := flags.String("resolve", "dial", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if plan.endpoints == "" || plan.ca == "" || plan.allowed == "" || plan.answers == "" || flags.NArg() > 0 ||
		(plan.cert == "") != (plan.key == "") || plan.callers < 1 || plan.count < 1 || plan.rate < 0 || *seconds < 1 ||
		(*resolve != "dial" && *resolve != "call") {
		return fmt.Errorf("%w: endure needs -endpoints, -ca, -allowed and -answers, and values that make sense", errUsage)
	}
	plan.eachCall = *resolve == "call"
	plan.timeout = time.Duration(*seconds) * time.Second
	return endure(plan, stdin, stdout)
}

func floodCommand(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("flood", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	url := flags.String("url", "", "")
	ca := flags.String("ca", "", "")
	reviews := flags.String("reviews", "", "")
	var plan flooding
	flags.IntVar(&plan.callers, "callers", 100, "")
	flags.Float64Var(&plan.rate, "rate", 0, "")
	flags.StringVar(&plan.source, "source", "127.0.0.1", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if *url == "" || *ca == "" || *reviews == "" || flags.NArg() > 0 || plan.callers < 1 || plan.rate <= 0 ||
		net.ParseIP(plan.source) == nil {
		return fmt.Errorf("%w: flood needs -url, -ca, -reviews and -rate, and values that make sense", errUsage)
	}
	target, err := newTarget(*url, *ca)
	if err != nil {
		return err
	}
	bodies, err := loadReviews(*reviews)
	if err != nil {
		return err
	}
	return flood(target, bodies, plan, stdout)
}

func allowCommand(args []string) error {
	flags := flag.NewFlagSet("allow", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	address := flags.String("address", "", "")
	cert := flags.String("cert", "", "")
	key := flags.String("key", "", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if *address == "" || *cert == "" || *key == "" || flags.NArg() > 0 {
		return fmt.Errorf("%w: allow needs -address, -cert and -key", errUsage)
	}
	return serveAllow(*address, *cert, *key)
}
