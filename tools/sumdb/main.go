// Command sumdb-verify checks signed checkpoints and Merkle proofs with the Go project's own
// code (golang.org/x/mod/sumdb), which shares nothing with placet. The tests hold placet's
// audit log against it: what placet writes, somebody else's verifier must accept.
//
// Exit status: 0 verified, 1 not verified, 2 wrong usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const usage = `sumdb-verify checks checkpoints and Merkle proofs with golang.org/x/mod/sumdb.

Usage:
  sumdb-verify checkpoint  -key VKEY FILE
  sumdb-verify proof       -key VKEY -checkpoint FILE -proof FILE
  sumdb-verify consistency -key VKEY -old FILE -new FILE -proof FILE
  sumdb-verify tiles       -key VKEY FOLDER
  sumdb-verify cosigned    -key VKEY -witness VKEY FILE

A checkpoint is a signed note (C2SP tlog-checkpoint): origin, size, root hash in base64.
VKEY is a note verifier key: name+hash+base64.
A folder is one of C2SP tlog-tiles: each entry, each tile and proofs made of them are checked.
A witness is one of C2SP tlog-cosignature with Ed25519; both it and the log have to have signed.
The proof of inclusion is JSON: {"leaf": base64, "index": n, "size": n, "hashes": [base64, ...]}.
The proof of consistency is JSON: {"hashes": [base64, ...]}.
Exit status: 0 verified, 1 not verified, 2 wrong usage.
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
	line, err := dispatch(args)
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "sumdb-verify: %v\n\n%s", err, usage)
		return 2
	case err != nil:
		fmt.Fprintf(stderr, "sumdb-verify: not verified: %v\n", err)
		return 1
	}
	fmt.Fprintln(stdout, line)
	return 0
}

// dispatch runs the named command and returns the line to print.
func dispatch(args []string) (string, error) {
	if len(args) == 0 {
		return "", fmt.Errorf("%w: no command given", errUsage)
	}
	commands := map[string]func([]string) (string, error){
		"checkpoint":  checkpointCommand,
		"proof":       proofCommand,
		"consistency": consistencyCommand,
		"tiles":       tilesCommand,
		"cosigned":    cosignedCommand,
	}
	command, ok := commands[args[0]]
	if !ok {
		return "", fmt.Errorf("%w: unknown command %q", errUsage, args[0])
	}
	return command(args[1:])
}

func checkpointCommand(args []string) (string, error) {
	options, rest, err := parseFlags("checkpoint", args, "key")
	if err != nil {
		return "", err
	}
	if len(rest) != 1 {
		return "", fmt.Errorf("%w: checkpoint takes exactly one file", errUsage)
	}
	found, err := openCheckpoint(options["key"], rest[0])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %x", found.origin, found.tree.N, found.tree.Hash[:]), nil
}

func proofCommand(args []string) (string, error) {
	options, rest, err := parseFlags("proof", args, "key", "checkpoint", "proof")
	if err != nil {
		return "", err
	}
	if len(rest) != 0 {
		return "", fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	}
	found, err := openCheckpoint(options["key"], options["checkpoint"])
	if err != nil {
		return "", err
	}
	index, err := checkInclusion(found.tree, options["proof"])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s record %d is in the tree of size %d", found.origin, index, found.tree.N), nil
}

func consistencyCommand(args []string) (string, error) {
	options, rest, err := parseFlags("consistency", args, "key", "old", "new", "proof")
	if err != nil {
		return "", err
	}
	if len(rest) != 0 {
		return "", fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	}
	older, err := openCheckpoint(options["key"], options["old"])
	if err != nil {
		return "", err
	}
	newer, err := openCheckpoint(options["key"], options["new"])
	if err != nil {
		return "", err
	}
	if err := checkConsistency(older, newer, options["proof"]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s tree of size %d extends the tree of size %d", newer.origin, newer.tree.N, older.tree.N), nil
}

func tilesCommand(args []string) (string, error) {
	options, rest, err := parseFlags("tiles", args, "key")
	if err != nil {
		return "", err
	}
	if len(rest) != 1 {
		return "", fmt.Errorf("%w: tiles takes exactly one folder", errUsage)
	}
	found, err := openCheckpoint(options["key"], filepath.Join(rest[0], "checkpoint"))
	if err != nil {
		return "", err
	}
	if err := checkTiles(found, rest[0]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s tiles of size %d", found.origin, found.tree.N), nil
}

func cosignedCommand(args []string) (string, error) {
	options, rest, err := parseFlags("cosigned", args, "key", "witness")
	if err != nil {
		return "", err
	}
	if len(rest) != 1 {
		return "", fmt.Errorf("%w: cosigned takes exactly one file", errUsage)
	}
	found, err := openCosigned(options["key"], options["witness"], rest[0])
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %x", found.origin, found.tree.N, found.tree.Hash[:]), nil
}

// parseFlags reads string flags that must all be given, and returns them with the other arguments.
func parseFlags(command string, args []string, names ...string) (map[string]string, []string, error) {
	set := flag.NewFlagSet(command, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	values := make(map[string]*string, len(names))
	for _, name := range names {
		values[name] = set.String(name, "", "")
	}
	if err := set.Parse(args); err != nil {
		return nil, nil, fmt.Errorf("%w: %v", errUsage, err)
	}
	options := make(map[string]string, len(names))
	for _, name := range names {
		if *values[name] == "" {
			return nil, nil, fmt.Errorf("%w: %s needs -%s", errUsage, command, name)
		}
		options[name] = *values[name]
	}
	return options, set.Args(), nil
}
