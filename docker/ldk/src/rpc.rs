//! JSON-RPC over a Unix socket: each request and each response is one line.
//!
//! A request is `{"id": any, "method": text, "params": {..}}`; its response has the same id and either `result` or
//! `error: {code, message}`. Several requests of one connection are handled concurrently.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{json, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

/// The maximum length of a request.
const MAX_REQUEST_BYTES: u64 = 1_000_000;

/// Error codes: those of JSON-RPC, and this daemon's own.
pub mod code {
    pub const UNKNOWN_METHOD: i64 = -32601;
    pub const BAD_PARAMETERS: i64 = -32602;
    pub const REFUSED: i64 = -1;
    /// Events were requested for a session that is over.
    pub const SESSION_OVER: i64 = -18001;
    pub const PEER_NOT_CONNECTED: i64 = -18002;
}

/// An error response: why a request is refused, as text for the user.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: i64,
    pub message: String,
}

impl Refusal {
    /// Create a refusal with this code.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Refusal { code, message: message.into() }
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Refusal { code: code::REFUSED, message }
    }
}

/// The response to one request.
pub type Answer = Result<Value, Refusal>;

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    id: Value,
    method: String,
    #[serde(default = "no_parameters")]
    params: Value,
}

fn no_parameters() -> Value {
    json!({})
}

/// Parse the parameters of a method.
pub fn parameters<T: for<'a> Deserialize<'a>>(params: Value) -> Result<T, Refusal> {
    serde_json::from_value(params).map_err(|error| Refusal::new(code::BAD_PARAMETERS, error.to_string()))
}

/// Serve requests until the listener fails; call `handle` with the method and the parameters of each.
pub async fn serve<H, F>(socket: &Path, handle: H) -> Result<(), String>
where
    H: Fn(String, Value) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let said = |error: std::io::Error| format!("{}: {error}", socket.display());
    if socket.exists() {
        std::fs::remove_file(socket).map_err(said)?;
    }
    let listener = UnixListener::bind(socket).map_err(said)?;
    // Any user may connect, as to Core Lightning's socket in the testbed: the folder around it is private.
    let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(socket, anybody).map_err(said)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, handle.clone()))),
            Err(error) => return Err(said(error)),
        }
    }
}

async fn converse<H, F>(stream: UnixStream, handle: H)
where
    H: Fn(String, Value) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let writer = Arc::new(Mutex::new(writer));
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(MAX_REQUEST_BYTES);
        match limited.read_until(b'\n', &mut line).await {
            Ok(length) if length > 0 && line.ends_with(b"\n") => {}
            _ => return, // end of stream, or a line that is too long
        }
        let (handle, writer) = (handle.clone(), writer.clone());
        tokio::spawn(async move {
            let answer = answer(&line, handle).await;
            // A client that has disconnected gets no response.
            let _ = writer.lock().await.write_all(format!("{answer}\n").as_bytes()).await;
        });
    }
}

async fn answer<H, F>(line: &[u8], handle: H) -> Value
where
    H: Fn(String, Value) -> F,
    F: Future<Output = Answer>,
{
    let request: Request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => return refusal(&Value::Null, -32700, &format!("no request: {error}")),
    };
    match handle(request.method, request.params).await {
        Ok(result) => json!({"id": request.id, "result": result}),
        Err(error) => refusal(&request.id, error.code, &error.message),
    }
}

fn refusal(id: &Value, code: i64, message: &str) -> Value {
    json!({"id": id, "error": {"code": code, "message": message}})
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo(method: String, params: Value) -> Answer {
        match method.as_str() {
            "echo" => Ok(params),
            _ => Err(Refusal::new(code::UNKNOWN_METHOD, "no such method")),
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_under_its_id() {
        let said = answer(br#"{"id": 7, "method": "echo", "params": {"a": 1}}"#, echo).await;
        assert_eq!(said, json!({"id": 7, "result": {"a": 1}}));
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused_and_hurts_nobody() {
        let said = answer(b"{", echo).await;
        assert_eq!(said["error"]["code"], -32700);
        let said = answer(br#"{"id": 1, "method": "frob"}"#, echo).await;
        assert_eq!(said["error"]["code"], code::UNKNOWN_METHOD);
        assert!(parameters::<u8>(json!(300)).is_err());
    }
}
