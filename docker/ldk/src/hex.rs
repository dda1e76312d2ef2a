//! Hex encoding of bytes.

use bitcoin::hex::{DisplayHex, FromHex};

/// Encode as lower-case hex.
pub fn text(bytes: &[u8]) -> String {
    bytes.to_lower_hex_string()
}

/// Decode hex; `None` if the text is not hex.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    Vec::from_hex(text).ok()
}

/// Decode hex of exactly N bytes.
pub fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    bytes(text)?.try_into().ok()
}
