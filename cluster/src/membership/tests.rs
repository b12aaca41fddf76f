//! Tests of the machine: the rule of two silences case by case, moves step by step, and a world of
//! several nodes with random faults.

mod faults;
mod moves;
mod shell;
mod silences;
mod world;
