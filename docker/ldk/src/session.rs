//! The events for the one attached process, in order. Each request acknowledges earlier events and asks for later ones.
//!
//! The semantics are those of asyncpay's plugin for Core Lightning. The process that attached last receives the events.
//! A request for events after number N acknowledges those up to N. The session of a process that falls too far behind
//! is ended; the process must attach again. Messages, which peers send at will, are dropped beyond a limit, and never
//! end a session.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

/// A process that has sent no request for this long is considered detached.
pub const ATTACH_TIME: Duration = Duration::from_secs(10);
/// The session ends when more events than these wait; offers of HTLCs do not count.
const MAX_EVENTS: usize = 10_000;
/// The limits of peers' messages that wait for the process. Further messages are dropped.
const MAX_MESSAGE_BYTES: usize = 16_000_000;
const MAX_MESSAGES: usize = 5_000;
const MAX_MESSAGES_OF_A_PEER: usize = 200;
/// The limits of one response; the process immediately requests the next one.
const MAX_REPLY_EVENTS: usize = 1_000;
const MAX_REPLY_BYTES: usize = 8_000_000;

/// The topic of an event that offers an HTLC, which waits for an answer.
pub const OFFER: &str = "htlc_intercepted";
const MESSAGES: [&str; 2] = ["onion_message", "custom_message"];

struct Event {
    number: u64,
    topic: &'static str,
    payload: Value,
    bytes: usize,
}

/// The state of the attached process, if there is one.
pub struct Sessions {
    started: u64,
    current: Option<u64>,
    events: VecDeque<Event>,
    counted: usize,
    message_bytes: usize,
    messages_of: HashMap<String, usize>,
    messages: usize,
    dropped: u64,
    number: u64,
    /// The time of the last request of the process.
    pub last_heard: Instant,
}

impl Sessions {
    /// Create without an attached process.
    pub fn new(now: Instant) -> Self {
        Sessions {
            started: 0,
            current: None,
            events: VecDeque::new(),
            counted: 0,
            message_bytes: 0,
            messages_of: HashMap::new(),
            messages: 0,
            dropped: 0,
            number: 0,
            last_heard: now,
        }
    }

    /// Start a session, which ends any other, and return its number.
    pub fn attach(&mut self, now: Instant) -> u64 {
        self.end();
        self.started += 1;
        self.current = Some(self.started);
        self.last_heard = now;
        self.started
    }

    /// Return whether this session is the current one.
    pub fn is_current(&self, session: u64) -> bool {
        self.current == Some(session)
    }

    /// Return whether a process is attached.
    pub fn attached(&self) -> bool {
        self.current.is_some()
    }

    /// End the session of a process that has sent no request for `ATTACH_TIME`; call this periodically.
    pub fn tick(&mut self, now: Instant) {
        if now.duration_since(self.last_heard) >= ATTACH_TIME {
            self.end();
        }
    }

    /// Add an event. It is not kept if no process is attached.
    pub fn report(&mut self, topic: &'static str, payload: Value) {
        if self.current.is_none() {
            return;
        }
        let bytes = payload.to_string().len();
        let is_message = MESSAGES.contains(&topic);
        let sender = sender_of(&payload);
        if is_message {
            let of_peer = self.messages_of.get(sender).copied().unwrap_or(0);
            if of_peer >= MAX_MESSAGES_OF_A_PEER
                || self.messages >= MAX_MESSAGES
                || self.message_bytes + bytes > MAX_MESSAGE_BYTES
            {
                self.dropped += 1;
                return;
            }
            *self.messages_of.entry(sender.to_owned()).or_default() += 1;
            self.messages += 1;
            self.message_bytes += bytes;
        }
        self.number += 1;
        self.counted += usize::from(topic != OFFER);
        self.events.push_back(Event { number: self.number, topic, payload, bytes });
        if self.counted > MAX_EVENTS {
            self.end();
        }
    }

    /// Remove the events up to this number, which the process acknowledges; call `taken` with each offer among them.
    pub fn acknowledge(&mut self, after: u64, mut taken: impl FnMut(&Value)) {
        while self.events.front().is_some_and(|event| event.number <= after) {
            let event = self.events.pop_front().expect("there is one");
            if event.topic == OFFER {
                taken(&event.payload);
            } else {
                self.counted -= 1;
            }
            if MESSAGES.contains(&event.topic) {
                self.messages -= 1;
                self.message_bytes -= event.bytes;
                let sender = sender_of(&event.payload);
                if let Some(count) = self.messages_of.get_mut(sender) {
                    *count -= 1;
                    if *count == 0 {
                        self.messages_of.remove(sender);
                    }
                }
            }
        }
    }

    /// Return whether events wait for the process.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Return the first events, as many as fit into one response, and the number of dropped messages.
    pub fn page(&self) -> Value {
        let mut bytes = 0;
        let mut page = Vec::new();
        for event in self.events.iter().take(MAX_REPLY_EVENTS) {
            bytes += event.bytes;
            if bytes > MAX_REPLY_BYTES && !page.is_empty() {
                break;
            }
            page.push(json!({"number": event.number, "topic": event.topic, "payload": event.payload}));
        }
        json!({"events": page, "dropped": self.dropped})
    }

    fn end(&mut self) {
        self.events.clear();
        self.messages_of.clear();
        (self.counted, self.messages, self.message_bytes, self.dropped) = (0, 0, 0, 0);
        self.current = None;
    }
}

fn sender_of(payload: &Value) -> &str {
    payload["peer"].as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(sessions: &Sessions) -> Vec<u64> {
        let page = sessions.page();
        let events = page["events"].as_array().unwrap();
        events.iter().map(|event| event["number"].as_u64().unwrap()).collect()
    }

    #[test]
    fn an_event_is_told_until_it_is_acknowledged() {
        let mut sessions = Sessions::new(Instant::now());
        let session = sessions.attach(Instant::now());
        sessions.report("block", json!({}));
        sessions.report("block", json!({}));
        assert_eq!(numbers(&sessions), [1, 2]);
        sessions.acknowledge(1, |_| panic!("no offer"));
        assert_eq!(numbers(&sessions), [2]);
        assert!(sessions.is_current(session) && !sessions.is_current(session + 1));
    }

    #[test]
    fn the_last_to_attach_takes_over_and_hears_nothing_of_before() {
        let mut sessions = Sessions::new(Instant::now());
        let first = sessions.attach(Instant::now());
        sessions.report("block", json!({}));
        sessions.attach(Instant::now());
        assert!(!sessions.is_current(first) && !sessions.has_events());
    }

    #[test]
    fn nothing_is_kept_for_nobody_and_silence_ends_a_session() {
        let start = Instant::now();
        let mut sessions = Sessions::new(start);
        sessions.report("block", json!({}));
        assert!(!sessions.has_events());
        sessions.attach(start);
        sessions.tick(start + ATTACH_TIME - Duration::from_millis(1));
        assert!(sessions.attached());
        sessions.tick(start + ATTACH_TIME);
        assert!(!sessions.attached());
    }

    #[test]
    fn one_peer_cannot_take_the_room_of_others_or_end_the_session() {
        let mut sessions = Sessions::new(Instant::now());
        sessions.attach(Instant::now());
        for _ in 0..MAX_EVENTS + 1 {
            sessions.report("custom_message", json!({"peer": "02aa"}));
        }
        sessions.report("custom_message", json!({"peer": "02bb"}));
        assert_eq!(sessions.messages, MAX_MESSAGES_OF_A_PEER + 1);
        assert!(sessions.attached());
        let last = sessions.number;
        sessions.acknowledge(last, |_| ());
        assert!(sessions.messages_of.is_empty() && sessions.message_bytes == 0);
    }

    #[test]
    fn falling_behind_ends_the_session_but_offers_do_not_count() {
        let mut sessions = Sessions::new(Instant::now());
        sessions.attach(Instant::now());
        for _ in 0..MAX_EVENTS + 1 {
            sessions.report(OFFER, json!({}));
        }
        assert!(sessions.attached());
        for _ in 0..MAX_EVENTS + 1 {
            sessions.report("block", json!({}));
        }
        assert!(!sessions.attached());
    }
}
