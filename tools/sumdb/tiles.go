package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is that of C2SP tlog-tiles: 256 hashes a tile.
const tileHeight = 8

// folderTiles reads tiles of C2SP tlog-tiles from a folder, for tlog.TileHashReader.
type folderTiles struct{ root string }

func (folderTiles) Height() int { return tileHeight }

// SaveTiles keeps nothing: the folder has them.
func (folderTiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folderTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	contents := make([][]byte, 0, len(tiles))
	for _, tile := range tiles {
		raw, err := f.read(tile)
		if err != nil {
			return nil, err
		}
		contents = append(contents, raw)
	}
	return contents, nil
}

// read returns a tile of hashes, or of the entries where its level is -1, or the start of the full one.
func (f folderTiles) read(tile tlog.Tile) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(f.root, tilePath(tile)))
	if !errors.Is(err, os.ErrNotExist) || tile.W == 1<<tileHeight {
		return raw, err
	}
	full := tile
	full.W = 1 << tileHeight
	raw, err = os.ReadFile(filepath.Join(f.root, tilePath(full)))
	if err == nil && tile.L >= 0 {
		raw = raw[:min(len(raw), tile.W*tlog.HashSize)]
	}
	return raw, err
}

// tilePath is tlog's own path without the height, which C2SP leaves out, and with its name for entries.
func tilePath(tile tlog.Tile) string {
	path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// checkTiles checks every entry of a folder against its tiles, these against the checkpoint, and that proofs
// made of the tiles hold.
func checkTiles(found checkpoint, root string) error {
	tiles := folderTiles{root}
	hashes := tlog.TileHashReader(found.tree, tiles)
	for start := int64(0); start < found.tree.N; start += 1 << tileHeight {
		width := int(min(found.tree.N-start, 1<<tileHeight))
		raw, err := tiles.read(tlog.Tile{H: tileHeight, L: -1, N: start >> tileHeight, W: width})
		if err != nil {
			return err
		}
		entries, err := parseBundle(raw, width)
		if err != nil {
			return fmt.Errorf("entries from %d on: %w", start, err)
		}
		indexes := make([]int64, width)
		for offset := range indexes {
			indexes[offset] = tlog.StoredHashIndex(0, start+int64(offset))
		}
		stored, err := hashes.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for offset, entry := range entries {
			if tlog.RecordHash(entry) != stored[offset] {
				return fmt.Errorf("entry %d is not the one of the tile", start+int64(offset))
			}
		}
	}
	return checkTileProofs(found.tree, hashes)
}

// checkTileProofs makes an inclusion proof of some records and a consistency proof of some sizes, and checks them.
func checkTileProofs(tree tlog.Tree, hashes tlog.HashReader) error {
	for index := int64(0); index < tree.N; index += 1 + tree.N/16 {
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		if err != nil {
			return err
		}
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf[0]); err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
		older, err := tlog.TreeHash(index+1, hashes)
		if err != nil {
			return err
		}
		extends, err := tlog.ProveTree(tree.N, index+1, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(extends, tree.N, tree.Hash, index+1, older); err != nil {
			return fmt.Errorf("tree of %d: %w", index+1, err)
		}
	}
	return nil
}

// parseBundle splits an entry bundle; what follows the last wanted entry belongs to a later tree.
func parseBundle(raw []byte, width int) ([][]byte, error) {
	entries := make([][]byte, 0, width)
	for len(entries) < width {
		if len(raw) < 2 || len(raw)-2 < int(binary.BigEndian.Uint16(raw)) {
			return nil, errors.New("the bundle ends early")
		}
		end := 2 + int(binary.BigEndian.Uint16(raw))
		entries = append(entries, raw[2:end])
		raw = raw[end:]
	}
	return entries, nil
}

// witness verifies cosignature/v1 lines for note.Open, which knows no key type but Ed25519's own.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }

func (w witness) Verify(message, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), message)
	return ed25519.Verify(w.key, signed, signature[8:])
}

// newWitness reads the verifier key of an Ed25519 cosigner, key type 4.
func newWitness(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || name == "" || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 4 {
		return nil, errors.New("not the verifier key of a witness")
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	if fmt.Sprintf("%x", sum[:4]) != hash {
		return nil, errors.New("the key's hash is not that of its name and key")
	}
	return witness{name, binary.BigEndian.Uint32(sum[:4]), raw[1:]}, nil
}

// openCosigned reads a checkpoint that both the log and a witness have signed.
func openCosigned(vkey, witnessKey, path string) (checkpoint, error) {
	log, err := note.NewVerifier(vkey)
	if err != nil {
		return checkpoint{}, fmt.Errorf("verifier key: %w", err)
	}
	cosigner, err := newWitness(witnessKey)
	if err != nil {
		return checkpoint{}, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return checkpoint{}, err
	}
	opened, err := note.Open(raw, note.VerifierList(log, cosigner))
	if err != nil {
		return checkpoint{}, fmt.Errorf("%s: %w", path, err)
	}
	signers := map[string]bool{}
	for _, signature := range opened.Sigs {
		signers[fmt.Sprintf("%s+%08x", signature.Name, signature.Hash)] = true
	}
	for _, verifier := range []note.Verifier{log, cosigner} {
		if !signers[fmt.Sprintf("%s+%08x", verifier.Name(), verifier.KeyHash())] {
			return checkpoint{}, fmt.Errorf("%s: %s has not signed it", path, verifier.Name())
		}
	}
	return parseCheckpoint(opened.Text)
}
