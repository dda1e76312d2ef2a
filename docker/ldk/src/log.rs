//! The log: one line per event on standard error, where container engines collect it.

use lightning::util::logger::{Level, Logger, Record};

/// A logger that prints records of this level and of more important ones.
pub struct Log(pub Level);

impl Logger for Log {
    fn log(&self, record: Record) {
        if record.level >= self.0 {
            let text = printable(&record.args.to_string());
            eprintln!("{} {}:{} {}", record.level, record.module_path, record.line, text);
        }
    }
}

/// Replace control characters: some of the text comes from peers.
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
