//! The machine's monotonic clock, the same in every process, and an alarm among the sockets.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use mio::{Interest, Registry, Token, unix::SourceFd};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::limits::LIGHT_ALARM_INTERVAL;

/// Microseconds of the machine's monotonic clock.
#[must_use]
pub(super) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

/// Microseconds of a duration.
#[must_use]
pub(super) const fn us(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000 + duration.subsec_micros() as u64
}

/// Wakes the poll at a microsecond; its own timeout knows only milliseconds, which a latency
/// would show.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    at_us: u64,
}

impl Alarm {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, at_us: 0 })
    }

    /// Goes off at the first multiple of [`LIGHT_ALARM_INTERVAL`] from that time on, and at no other
    /// set before.
    pub(super) fn set(&mut self, at_us: u64) -> io::Result<()> {
        let at_us = at_us.next_multiple_of(us(LIGHT_ALARM_INTERVAL));
        if at_us == self.at_us {
            return Ok(());
        }
        self.at_us = at_us;
        let at = Duration::from_micros(at_us.max(1));
        let timer = Itimerspec {
            it_interval: Timespec::default(),
            it_value: at.try_into().unwrap_or_default(),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer)?;
        Ok(())
    }
}
