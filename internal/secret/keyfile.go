package secret

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Key signs what only this server may have made. It prints as [Masked].
type Key [32]byte

// Format makes every verb print [Masked].
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, Masked) }

// MarshalText returns [Masked], for JSON too.
func (Key) MarshalText() ([]byte, error) { return []byte(Masked), nil }

// LoadKey returns the key in a file, which it makes if there is none, readable by the
// user alone, together with its folder. It refuses a file that everybody may read.
func LoadKey(file string) (Key, error) {
	key, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(file); err != nil {
		return Key{}, err
	}
	return readKey(file)
}

func readKey(file string) (key Key, err error) {
	f, err := os.Open(file)
	if err != nil {
		return key, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return key, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return key, fmt.Errorf("%s: others may read or change it (mode %04o): run chmod 600 on it", file, mode)
	}
	text := make([]byte, hex.EncodedLen(len(key))+len("\n")+1)
	n, _ := f.Read(text) // what is missing is noticed below
	raw, err := hex.DecodeString(strings.TrimSuffix(string(text[:n]), "\n"))
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("%s: is no key: remove it, and another one will be made", file)
	}
	return Key(raw), nil
}

// makeKey writes a new key, but not over one that another server has made meanwhile.
func makeKey(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	var key Key
	rand.Read(key[:])
	_, err = tmp.WriteString(hex.EncodeToString(key[:]) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
