//! Bytes as text.

use bitcoin::hex::{DisplayHex, FromHex};

/// Lower-case hex.
pub fn text(bytes: &[u8]) -> String {
    bytes.to_lower_hex_string()
}

/// The bytes of hex text; `None` for any other.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    Vec::from_hex(text).ok()
}

/// Exactly N bytes.
pub fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    bytes(text)?.try_into().ok()
}
