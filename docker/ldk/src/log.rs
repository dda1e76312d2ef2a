//! The log: one line an event on standard error, as container engines collect it.

use lightning::util::logger::{Level, Logger, Record};

/// Prints what is at least as important as its level.
pub struct Log(pub Level);

impl Logger for Log {
    fn log(&self, record: Record) {
        if record.level >= self.0 {
            let text = printable(&record.args.to_string());
            eprintln!("{} {}:{} {}", record.level, record.module_path, record.line, text);
        }
    }
}

/// Text without control characters: some of it comes from peers.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_peer_cannot_control_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
