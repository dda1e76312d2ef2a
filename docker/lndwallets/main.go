// Command lndwallets makes wallets for LND on regtest: `lndwallets COUNT FOLDER` makes FOLDER/0, FOLDER/1, ..., each of
// which is a folder for `lnd --lnddir` with a wallet in it.
//
// They are what LND makes by itself when it is started with --noseedbackup, by the same package and with the same
// passphrases (lnwallet.DefaultPublicPassphrase and DefaultPrivatePassphrase), but for one thing: the scrypt
// parameters. LND's are for wallets that hold money, and take seconds of a processor whenever LND makes or opens one. A
// wallet stores its parameters, so LND opens one with the fast parameters fast.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcwallet/waddrmgr"
	"github.com/btcsuite/btcwallet/wallet"
	_ "github.com/btcsuite/btcwallet/walletdb/bdb"
)

func create(folder string) error {
	place := filepath.Join(folder, "data", "chain", "bitcoin", "regtest")
	if err := os.MkdirAll(place, 0o700); err != nil {
		return err
	}
	loader := wallet.NewLoader(&chaincfg.RegressionNetParams, place, true, time.Minute, 0)
	if _, err := loader.CreateNewWallet([]byte("public"), []byte("hello"), nil, time.Now()); err != nil {
		return err
	}
	return loader.UnloadWallet()
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: lndwallets COUNT FOLDER")
	}
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	waddrmgr.DefaultScryptOptions = waddrmgr.FastScryptOptions
	for number := range count {
		if err := create(filepath.Join(os.Args[2], strconv.Itoa(number))); err != nil {
			return fmt.Errorf("wallet %d: %w", number, err)
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "lndwallets:", err)
		os.Exit(1)
	}
}
