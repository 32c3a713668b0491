package main

import (
	"context"
	"strconv"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// socketCommands are
//
//	socket NAME PATH    open a WebSocket
//	answers NAME        say something on it, and be answered
//	socket-closed NAME STATUS
//	                    wait until the server closes it, and why
var socketCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"socket": func(ts *testscript.TestScript, neg bool, args []string) {
		w := of(ts)
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		c, _, err := websocket.Dial(ctx, w.url+args[1], nil)
		ts.Check(err)
		if w.sockets == nil {
			w.sockets = make(map[string]*websocket.Conn)
		}
		w.sockets[args[0]] = c
	},
	"answers": func(ts *testscript.TestScript, neg bool, args []string) {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		c := of(ts).sockets[args[0]]
		ts.Check(c.Write(ctx, websocket.MessageText, []byte("are you there?")))
		if _, got, err := c.Read(ctx); err != nil || string(got) != "ok" {
			ts.Fatalf("it answers %q, %v", got, err)
		}
	},
	"socket-closed": func(ts *testscript.TestScript, neg bool, args []string) {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		_, _, err := of(ts).sockets[args[0]].Read(ctx)
		if got := websocket.CloseStatus(err); strconv.Itoa(int(got)) != args[1] {
			ts.Fatalf("it ended with %v", err)
		}
	},
}
