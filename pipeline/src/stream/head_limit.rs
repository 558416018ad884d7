//! The time a request's head may take, counted from its first byte.
//!
//! hyper counts from the end of the last answer, so its limit also ends clients that only wait between calls, and a
//! limit such clients can live with gives one that never ends a head minutes for each connection. Here a connection may
//! be silent as long as it likes; what it has begun to say it has to finish.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// What an HTTP/2 connection begins with (RFC 9113, 3.4). After it, frames come at any time.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the service of a connection tells the reader of its socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    taken: AtomicU64,
    answering: AtomicBool,
}

impl Heads {
    /// A head is complete: what comes now is its body.
    pub(crate) fn take(&self) {
        self.0.answering.store(true, Ordering::Relaxed);
        self.0.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer is there: what comes now is the next head.
    pub(crate) fn answered(&self) {
        self.0.answering.store(false, Ordering::Relaxed);
    }

    fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn are_awaited(&self) -> bool {
        !self.0.answering.load(Ordering::Relaxed)
    }
}

/// A head of which some bytes are there.
#[derive(Debug)]
struct Begun {
    deadline: Instant,
    /// How many heads were complete before it.
    after: u64,
    /// Made only when the rest has to be waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// A socket that ends with [`io::ErrorKind::TimedOut`] when a head takes too long.
#[derive(Debug)]
pub(crate) struct HeadLimited<S> {
    socket: S,
    heads: Heads,
    limit: Duration,
    begun: Option<Begun>,
    /// Bytes of [`PREFACE`] that the connection began with; absent when it began with something else.
    preface: Option<usize>,
}

impl<S> HeadLimited<S> {
    pub(crate) const fn new(socket: S, heads: Heads, limit: Duration) -> Self {
        Self { socket, heads, limit, begun: None, preface: Some(0) }
    }

    /// Takes note of what was read.
    fn see(&mut self, bytes: &[u8]) {
        if let Some(seen) = self.preface {
            let expected = &PREFACE[seen..];
            let length = expected.len().min(bytes.len());
            self.preface = (expected[..length] == bytes[..length]).then_some(seen + length);
        }
        if self.preface == Some(PREFACE.len()) {
            self.begun = None;
        } else if self.begun.is_none() && !bytes.is_empty() && self.heads.are_awaited() {
            self.begun = Some(Begun { deadline: Instant::now() + self.limit, after: self.heads.taken(), alarm: None });
        }
    }

    /// Ready when the head that was begun has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(begun) = &mut self.begun else { return Poll::Pending };
        let deadline = begun.deadline;
        begun.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline))).as_mut().poll(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadLimited<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A head that was complete meanwhile is none that was begun.
        if this.begun.as_ref().is_some_and(|begun| begun.after != this.heads.taken()) {
            this.begun = None;
        }
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.socket).poll_read(cx, buffer) {
            this.see(&buffer.filled()[before..]);
            return Poll::Ready(read);
        }
        ready!(this.poll_late(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadLimited<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
