//! ldk-cli: one call of ldkd's socket. Words NAME=VALUE are parameters; a value that is no JSON is text.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use serde_json::{json, Map, Value};

const USAGE: &str = "ldk-cli [--socket FILE] METHOD [NAME=VALUE ...]";
const SOCKET: &str = "/run/ldk/rpc.sock";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.peek().is_none_or(|word| word == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if words.peek().is_some_and(|word| word == "--version") {
        println!("ldk-cli {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match call(words) {
        Ok(answer) if answer.get("error").is_some() => {
            eprintln!("{:#}", answer["error"]);
            ExitCode::FAILURE
        }
        Ok(answer) => {
            println!("{:#}", answer["result"]);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("ldk-cli: {why}");
            ExitCode::FAILURE
        }
    }
}

fn call(mut words: impl Iterator<Item = String>) -> Result<Value, String> {
    let mut socket = SOCKET.to_owned();
    let mut method = words.next().unwrap_or_default();
    if method == "--socket" {
        socket = words.next().ok_or(USAGE)?;
        method = words.next().ok_or(USAGE)?;
    }
    let params = parameters(words)?;
    let said = |error: std::io::Error| format!("{socket}: {error}");
    let mut stream = UnixStream::connect(&socket).map_err(said)?;
    let request = json!({"id": 1, "method": method, "params": params});
    stream.write_all(format!("{request}\n").as_bytes()).map_err(said)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(said)?;
    serde_json::from_str(&line).map_err(|error| format!("no answer: {error}"))
}

fn parameters(words: impl Iterator<Item = String>) -> Result<Map<String, Value>, String> {
    words
        .map(|word| {
            let (name, value) = word.split_once('=').ok_or(format!("{word:?} is not NAME=VALUE"))?;
            let value = serde_json::from_str(value).unwrap_or(Value::String(value.to_owned()));
            Ok((name.to_owned(), value))
        })
        .collect()
}
