//! Reads from a socket together with the time at which the kernel had the packet: the program's only unsafe corner.
//!
//! The standard library offers neither the socket's option nor the message's control data. Each call passes pointers to
//! locals that outlive it.

use std::{io, mem, net::TcpStream, os::fd::AsRawFd, ptr};

/// Room for one stamp and its header, aligned as the header must be.
type Control = [u64; 8];

/// Asks the kernel to stamp what comes (socket(7), SO_TIMESTAMPNS).
pub fn ask(socket: &TcpStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(mem::size_of_val(&on)).expect("a few bytes");
    let (option, value) = (libc::SO_TIMESTAMPNS, (&raw const on).cast());
    #[expect(unsafe_code, reason = "the option has no safe wrapper here")]
    // SAFETY: `value` points to an integer of `length` bytes that outlives the call.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads what is there; the time of its last packet, nanoseconds since 1970, is absent when the kernel gave none.
pub fn read(socket: &TcpStream, into: &mut [u8]) -> io::Result<(usize, Option<i64>)> {
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let mut control: Control = [0; 8];
    #[expect(unsafe_code, reason = "control data has no safe wrapper here")]
    // SAFETY: a zeroed msghdr is valid; its pointers are to `part`, `control` and through it `into`, which outlive the
    // call, with their true lengths. A control header is looked at only where CMSG_FIRSTHDR says there is one, and its
    // data only when its kind says that they are a timespec; `control` has room for it.
    unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = mem::size_of::<Control>() as _;
        let Ok(read) = usize::try_from(libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0)) else {
            return Err(io::Error::last_os_error());
        };
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let stamped = !header.is_null() && (*header).cmsg_type == libc::SCM_TIMESTAMPNS;
        let stamp = stamped.then(|| ptr::read_unaligned(libc::CMSG_DATA(header).cast::<libc::timespec>()));
        Ok((read, stamp.map(|stamp| stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec)))
    }
}
