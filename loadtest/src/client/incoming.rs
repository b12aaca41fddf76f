//! What the server sends by itself.

use std::{fmt, time::Duration};

use rookery_proto::v1::{self, server_frame::Frame};
use tokio::{sync::mpsc, time::timeout};

/// The frames of one connection that no `call` waits for, in order.
///
/// When it is dropped, such frames are discarded; when it is not read, the client stops reading
/// its socket after a while, as a slow reader does.
#[derive(Debug)]
pub struct Incoming {
    frames: mpsc::Receiver<Frame>,
}

/// The frame waited for did not come.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// Not within this time. Holds how many other frames came.
    #[error("not within {after:?} ({others} other frames came)")]
    Deadline {
        /// How long was waited.
        after: Duration,
        /// Frames that were not the one.
        others: usize,
    },
    /// The connection ended first.
    #[error("the connection ended first ({others} other frames came)")]
    Ended {
        /// Frames that were not the one.
        others: usize,
    },
}

impl Incoming {
    pub(crate) fn new(frames: mpsc::Receiver<Frame>) -> Self {
        Self { frames }
    }

    /// The next frame; `None` when the connection has ended and all is read.
    ///
    /// # Cancel safety
    /// No frame is lost.
    pub async fn next(&mut self) -> Option<Frame> {
        self.frames.recv().await
    }

    /// The next frame if it is already here.
    pub fn next_now(&mut self) -> Option<Frame> {
        self.frames.try_recv().ok()
    }

    /// Reads until `choose` gives something; the frames before it are dropped.
    ///
    /// # Errors
    /// The deadline passed or the connection ended.
    pub async fn wait_for<T>(
        &mut self,
        within: Duration,
        mut choose: impl FnMut(Frame) -> Option<T>,
    ) -> Result<T, WaitError> {
        let mut others = 0;
        let waited = timeout(within, async {
            loop {
                let Some(frame) = self.frames.recv().await else {
                    return Err(());
                };
                if let Some(chosen) = choose(frame) {
                    return Ok(chosen);
                }
                others += 1;
            }
        })
        .await;
        match waited {
            Ok(Ok(chosen)) => Ok(chosen),
            Ok(Err(())) => Err(WaitError::Ended { others }),
            Err(_) => Err(WaitError::Deadline {
                after: within,
                others,
            }),
        }
    }

    /// The next event, whatever else comes before it.
    ///
    /// # Errors
    /// The deadline passed or the connection ended.
    pub async fn event(&mut self, within: Duration) -> Result<v1::Event, WaitError> {
        self.wait_for(within, |frame| match frame {
            Frame::Event(event) => Some(event),
            _ => None,
        })
        .await
    }

    /// The next `count` events.
    ///
    /// # Errors
    /// The deadline (for each of them) passed or the connection ended.
    pub async fn events(
        &mut self,
        count: usize,
        within: Duration,
    ) -> Result<Vec<v1::Event>, WaitError> {
        let mut events = Vec::new();
        for _ in 0..count {
            events.push(self.event(within).await?);
        }
        Ok(events)
    }

    /// The next notice.
    ///
    /// # Errors
    /// The deadline passed or the connection ended.
    pub async fn notice(&mut self, within: Duration) -> Result<v1::notice::Body, WaitError> {
        self.wait_for(within, |frame| match frame {
            Frame::Notice(notice) => notice.body,
            _ => None,
        })
        .await
    }

    /// The next signal, with its room.
    ///
    /// # Errors
    /// The deadline passed or the connection ended.
    pub async fn signal(
        &mut self,
        within: Duration,
    ) -> Result<(String, v1::signal::Body), WaitError> {
        self.wait_for(within, |frame| match frame {
            Frame::Signal(signal) => signal.body.map(|body| (signal.room, body)),
            _ => None,
        })
        .await
    }

    /// The next error frame that no call waits for.
    ///
    /// # Errors
    /// The deadline passed or the connection ended.
    pub async fn error(&mut self, within: Duration) -> Result<v1::Error, WaitError> {
        self.wait_for(within, |frame| match frame {
            Frame::Error(error) => Some(error),
            _ => None,
        })
        .await
    }
}

impl fmt::Display for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames waiting", self.frames.len())
    }
}
