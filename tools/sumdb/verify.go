package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkpoint is a verified signed note: its signature has been checked.
type checkpoint struct {
	origin string
	tree   tlog.Tree
}

// openCheckpoint reads a signed note, checks the signature by vkey and parses its three lines.
func openCheckpoint(vkey, path string) (checkpoint, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return checkpoint{}, fmt.Errorf("verifier key: %w", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return checkpoint{}, err
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, fmt.Errorf("%s: %w", path, err)
	}
	parsed, err := parseCheckpoint(opened.Text)
	if err != nil {
		return checkpoint{}, fmt.Errorf("%s: %w", path, err)
	}
	return parsed, nil
}

// parseCheckpoint reads the text of a C2SP tlog-checkpoint: origin, size, root, extension lines.
// tlog.ParseTree is not used: it takes only the origin of Go's own checksum database.
func parseCheckpoint(text string) (checkpoint, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 3 || lines[0] == "" {
		return checkpoint{}, errors.New("a checkpoint has an origin, a size and a root hash line")
	}
	for _, line := range lines[3:] {
		if line == "" {
			return checkpoint{}, errors.New("an extension line of a checkpoint is not empty")
		}
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, fmt.Errorf("the size %q is not a plain decimal number", lines[1])
	}
	root, err := decodeHash(lines[2])
	if err != nil {
		return checkpoint{}, fmt.Errorf("root: %w", err)
	}
	return checkpoint{origin: lines[0], tree: tlog.Tree{N: size, Hash: root}}, nil
}

// checkInclusion checks that the leaf in the proof file is in the tree, and returns its index.
func checkInclusion(tree tlog.Tree, path string) (int64, error) {
	var proof struct {
		Leaf   []byte   `json:"leaf"`
		Index  *int64   `json:"index"`
		Size   *int64   `json:"size"`
		Hashes []string `json:"hashes"`
	}
	if err := readJSON(path, &proof); err != nil {
		return 0, err
	}
	if proof.Leaf == nil || proof.Index == nil || proof.Size == nil {
		return 0, fmt.Errorf("%s: leaf, index and size are all needed", path)
	}
	if *proof.Size != tree.N {
		return 0, fmt.Errorf("the proof is for a tree of size %d, the checkpoint for %d", *proof.Size, tree.N)
	}
	hashes, err := decodeHashes(proof.Hashes)
	if err != nil {
		return 0, err
	}
	return *proof.Index, tlog.CheckRecord(hashes, tree.N, tree.Hash, *proof.Index, tlog.RecordHash(proof.Leaf))
}

// checkConsistency checks that newer holds all the records of older as its first ones.
func checkConsistency(older, newer checkpoint, path string) error {
	if older.origin != newer.origin {
		return fmt.Errorf("the checkpoints are of different logs: %q and %q", older.origin, newer.origin)
	}
	var proof struct {
		Hashes []string `json:"hashes"`
	}
	if err := readJSON(path, &proof); err != nil {
		return err
	}
	hashes, err := decodeHashes(proof.Hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes, newer.tree.N, newer.tree.Hash, older.tree.N, older.tree.Hash)
}

// readJSON decodes the one JSON value in the file and refuses fields that are not known.
func readJSON(path string, target any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(target); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more follows the JSON value", path)
	}
	return nil
}

func decodeHashes(encoded []string) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, len(encoded))
	for position, text := range encoded {
		hash, err := decodeHash(text)
		if err != nil {
			return nil, fmt.Errorf("hash %d: %w", position, err)
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

// decodeHash reads standard base64 of 32 bytes, in its one canonical spelling.
func decodeHash(text string) (tlog.Hash, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != tlog.HashSize || strings.ContainsAny(text, "\r\n") {
		return tlog.Hash{}, fmt.Errorf("%q is not the base64 of a SHA-256 hash", text)
	}
	return tlog.Hash(raw), nil
}
