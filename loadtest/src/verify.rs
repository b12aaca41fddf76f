//! The proof: a workload under faults, window by window, each judged by the checker.
//!
//! Reading order: [`Plan`] says what is verified, with which workload and which faults ([`Kind`]);
//! `target` starts it; `campaign` runs window after window; `fault` lets one fault happen and
//! `recovery` waits until every room works again; [`Live`] tells whoever looks what goes on.
//!
//! A window is a history of its own with rooms of its own: when its faults have happened the
//! clients come to rest, a fresh one reads all logs, and everything anybody was told is held
//! against them. What a window has cost is given back at its end, so a run of days needs no more
//! memory or disk than its largest window. The file of a window that is sound is removed, unless
//! it is to be kept; that of one that is not stays.

mod campaign;
mod fault;
mod kind;
mod live;
mod plan;
mod recovery;
mod target;

pub use campaign::{Run, Summary, run};
pub use kind::{Kind, Place};
pub use live::Live;
pub use plan::{BUILT_IN, DEFAULT, Faults, Load, Plan, Target, Window};
pub use target::Parts;
