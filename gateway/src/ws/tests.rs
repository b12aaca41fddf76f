//! RFC 6455, case by case.
