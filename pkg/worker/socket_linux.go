//go:build !386 && !s390x && !race

package worker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// socketConn is a connection from the server over a Unix socket. It costs a worker
// less than package net's, for two reasons. The runtime's poller would wait for
// buffer space all the time, and the kernel reports space whenever the server has
// read, so each response would wake the worker once more: here the poller waits for
// an epoll instance of each direction, and that for writes watches the socket only
// while a write waits. And package syscall would announce each call to the
// scheduler, which gives the processor away if one takes some microseconds.
//
// The race detector learns the order of writes and reads only from package syscall,
// so with it, and where the kernel has no such calls, package net's connection is
// used.
type socketConn struct {
	fd      int
	in, out direction
}

// direction is one direction of a socketConn. It does one call at a time.
type direction struct {
	fd    int      // of the socket
	epoll *os.File // readable when the socket is ready
	poll  syscall.RawConn

	mu      sync.Mutex // guards all below
	step    func(fd uintptr) (done bool)
	buf     []byte
	n       int // bytes of buf that are done
	err     error
	watched bool // of writes: the socket is being watched
}

// edgeTriggered is EPOLLET, which package syscall has as a negative number.
const edgeTriggered = 1 << 31

// newSocketConn returns a connection that replaces c, which it closes. After an
// error, mostly for want of descriptors, c is as it was.
func newSocketConn(c *net.UnixConn) (stream, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := new(socketConn)
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		var dup uintptr
		dup, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
		s.fd = int(dup)
	})
	switch {
	case err != nil:
		return nil, err
	case errno != 0:
		return nil, os.NewSyscallError("fcntl", errno)
	}
	s.in.step, s.out.step = s.in.read, s.out.write
	err = errors.Join(s.in.open(s.fd), s.out.open(s.fd))
	if err == nil {
		err = s.in.watch(syscall.EPOLL_CTL_ADD, syscall.EPOLLIN|syscall.EPOLLRDHUP)
	}
	if err != nil {
		s.in.epoll.Close()
		s.out.epoll.Close()
		syscall.Close(s.fd)
		return nil, err
	}
	c.Close()
	return s, nil
}

func (d *direction) open(fd int) error {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	syscall.SetNonblock(epoll, true) // or os.NewFile would not let the poller wait for it
	d.fd, d.epoll = fd, os.NewFile(uintptr(epoll), "epoll")
	d.poll, err = d.epoll.SyscallConn()
	return err
}

// watch adds the socket to the epoll instance, or removes it.
func (d *direction) watch(op int, events uint32) (err error) {
	event := syscall.EpollEvent{Events: events | edgeTriggered}
	return errors.Join(d.poll.Control(func(epoll uintptr) {
		err = os.NewSyscallError("epoll_ctl", syscall.EpollCtl(int(epoll), op, d.fd, &event))
	}), err)
}

// transfer calls step until it is done, the deadline passes or the connection is
// closed. Its errors are those of package net.
func (d *direction) transfer(op string, p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.buf, d.n, d.err = p, 0, nil
	err := d.poll.Read(d.step)
	d.buf = nil
	if d.watched {
		d.watched = false
		d.watch(syscall.EPOLL_CTL_DEL, 0)
	}
	switch {
	case err == nil:
		err = d.err
	case !errors.Is(err, os.ErrDeadlineExceeded):
		err = net.ErrClosed
	}
	if err == nil || err == io.EOF {
		return d.n, err
	}
	return d.n, &net.OpError{Op: op, Net: "unix", Err: err}
}

// read is the step of reads.
func (d *direction) read(uintptr) (done bool) {
	n, errno := call(syscall.SYS_RECVFROM, d.fd, d.buf, syscall.MSG_DONTWAIT)
	switch {
	case errno == syscall.EAGAIN:
		return false
	case errno != 0:
		d.err = os.NewSyscallError("read", errno)
	case n == 0 && len(d.buf) > 0:
		d.err = io.EOF
	default:
		d.n = n
	}
	return true
}

// write is the step of writes.
func (d *direction) write(uintptr) (done bool) {
	for d.n < len(d.buf) {
		n, errno := call(syscall.SYS_SENDTO, d.fd, d.buf[d.n:], syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		switch {
		case errno == 0:
			d.n += n
		case errno == syscall.EAGAIN && d.watched:
			return false
		case errno == syscall.EAGAIN:
			d.watched = true
			d.err = d.watch(syscall.EPOLL_CTL_ADD, syscall.EPOLLOUT) // reports space that exists by now too
			return d.err != nil
		default:
			d.err = os.NewSyscallError("write", errno)
			return true
		}
	}
	return true
}

// call makes a call that does not wait, and repeats it if a signal interrupts it.
func call(trap uintptr, fd int, p []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

// Read implements [io.Reader].
func (s *socketConn) Read(p []byte) (int, error) { return s.in.transfer("read", p) }

// Write implements [io.Writer].
func (s *socketConn) Write(p []byte) (int, error) { return s.out.transfer("write", p) }

// CloseWrite tells the server that nothing more will be sent.
func (s *socketConn) CloseWrite() error {
	err := net.ErrClosed
	s.in.poll.Control(func(uintptr) { err = os.NewSyscallError("shutdown", syscall.Shutdown(s.fd, syscall.SHUT_WR)) })
	return err
}

// Close may be called from any goroutine, and again.
func (s *socketConn) Close() error {
	if err := s.in.epoll.Close(); err != nil { // waits until no read uses the socket, as the next for a write
		return net.ErrClosed
	}
	s.out.epoll.Close()
	return os.NewSyscallError("close", syscall.Close(s.fd))
}

// SetReadDeadline sets the deadline of reads.
func (s *socketConn) SetReadDeadline(t time.Time) error { return s.in.epoll.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of writes.
func (s *socketConn) SetWriteDeadline(t time.Time) error { return s.out.epoll.SetReadDeadline(t) }
