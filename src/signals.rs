//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once.

use tokio::{signal::unix, sync::watch};

/// Turns true with the first signal; a second one ends the process with 130.
pub(crate) fn watch_for_stop() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (unix::signal(unix::SignalKind::interrupt()), unix::signal(unix::SignalKind::terminate()))
        else {
            tracing::warn!("signals cannot be watched; an interrupt will end the run without a record");
            return std::future::pending().await;
        };
        for first in [true, false] {
            tokio::select! { _ = interrupt.recv() => {} , _ = terminate.recv() => {} }
            if first {
                eprintln!("\nstopping: draining what was sent; once more to end at once");
                stop.send_replace(true);
            } else {
                std::process::exit(130);
            }
        }
    });
    stopped
}

/// Waits until the stop was asked for.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|asked| *asked).await.is_err() {
        std::future::pending::<()>().await;
    }
}
