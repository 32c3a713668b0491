package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a connection over a Unix socket that the runtime's poller does not know.
// The poller would always wait for buffer space too, and the kernel reports space
// whenever the other end has read, so each message would wake its sender once more,
// just when the receiver is busy. A Conn has its own epoll instances, and the
// poller waits for these.
type Conn struct {
	socket        uintptr
	in, out       direction
	local, remote net.Addr
}

// direction is one direction of a Conn. It does one call at a time.
type direction struct {
	socket uintptr
	epoll  *os.File // readable when the socket is ready
	raw    syscall.RawConn

	mu      sync.Mutex // guards the fields below
	step    func(fd uintptr) (done bool)
	p       []byte
	n       int // bytes of p that are done
	err     error
	watched bool // the socket is watched for buffer space

	// Bound once, so that a call does not allocate: call calls step with the
	// socket, move is receive or send.
	call, move func(fd uintptr) (done bool)
}

// edgeTriggered is EPOLLET, which package syscall has as a negative number.
const edgeTriggered = 1 << 31

// NewConn returns a connection that replaces from, which it closes. After an error,
// mostly because descriptors ran out, from is unchanged.
func NewConn(from *net.UnixConn) (*Conn, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{local: from.LocalAddr(), remote: from.RemoteAddr()}
	var no syscall.Errno
	err = raw.Control(func(fd uintptr) {
		c.socket, _, no = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	})
	switch {
	case err != nil:
		return nil, err
	case no != 0:
		return nil, os.NewSyscallError("fcntl", no)
	}
	c.in.move, c.out.move = c.in.receive, c.out.send
	err = errors.Join(c.in.open(c.socket), c.out.open(c.socket))
	if err == nil {
		err = c.in.watch(syscall.EPOLL_CTL_ADD, syscall.EPOLLIN|syscall.EPOLLRDHUP)
	}
	if err != nil {
		c.in.epoll.Close()
		c.out.epoll.Close()
		syscall.Close(int(c.socket))
		return nil, err
	}
	from.Close()
	return c, nil
}

func (d *direction) open(socket uintptr) error {
	d.socket = socket
	d.call = func(uintptr) bool { return d.step(socket) }
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	syscall.SetNonblock(fd, true) // else the poller would not accept it
	d.epoll = os.NewFile(uintptr(fd), "epoll")
	d.raw, err = d.epoll.SyscallConn()
	return err
}

// watch adds the socket to the epoll instance, or removes it.
func (d *direction) watch(op int, events uint32) error {
	event := syscall.EpollEvent{Events: events | edgeTriggered}
	var failed error
	err := d.raw.Control(func(fd uintptr) {
		failed = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(int(fd), op, int(d.socket), &event))
	})
	return errors.Join(err, failed)
}

// Await calls step with the socket until step reports that it is done: at once, and
// whenever something arrives. It is a read and has the deadline of one.
func (c *Conn) Await(step func(fd uintptr) (done bool)) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.awaitLocked(step)
}

func (d *direction) awaitLocked(step func(fd uintptr) (done bool)) error {
	d.step = step
	err := d.raw.Read(d.call)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return net.ErrClosed
	}
	return err
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) { return c.in.transfer("read", p) }

// Write implements [net.Conn].
func (c *Conn) Write(p []byte) (int, error) { return c.out.transfer("write", p) }

func (d *direction) transfer(op string, p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.p, d.n, d.err = p, 0, nil
	err := d.awaitLocked(d.move)
	d.p = nil
	if d.watched {
		d.watched = false
		d.watch(syscall.EPOLL_CTL_DEL, 0)
	}
	if err == nil {
		err = d.err
	}
	if err == nil || err == io.EOF {
		return d.n, err
	}
	return d.n, &net.OpError{Op: op, Net: "unix", Err: err}
}

func (d *direction) receive(fd uintptr) (done bool) {
	d.n, d.err = Read(fd, d.p)
	return d.err != syscall.EAGAIN
}

func (d *direction) send(fd uintptr) (done bool) {
	n, err := Write(fd, d.p[d.n:])
	d.n, d.err = d.n+n, err
	if err == syscall.EAGAIN && !d.watched {
		d.watched = true
		d.err = d.watch(syscall.EPOLL_CTL_ADD, syscall.EPOLLOUT) // reports existing space too
		return d.err != nil
	}
	return err != syscall.EAGAIN
}

// Control calls f with the socket. It may be called from any goroutine.
func (c *Conn) Control(f func(fd uintptr)) error {
	return c.in.raw.Control(func(uintptr) { f(c.socket) })
}

// Close may be called from any goroutine, and more than once.
func (c *Conn) Close() error {
	if err := c.in.epoll.Close(); err != nil { // waits until no read uses the socket; the next Close, for writes
		return net.ErrClosed
	}
	c.out.epoll.Close()
	return os.NewSyscallError("close", syscall.Close(int(c.socket)))
}

// CloseWrite tells the other end that nothing more will be sent.
func (c *Conn) CloseWrite() error {
	err := net.ErrClosed
	c.in.raw.Control(func(uintptr) {
		err = os.NewSyscallError("shutdown", syscall.Shutdown(int(c.socket), syscall.SHUT_WR))
	})
	return err
}

// LocalAddr returns the address of the connection that this one replaces.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the connection that this one replaces.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.epoll.SetReadDeadline(t) }

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.epoll.SetReadDeadline(t) }
