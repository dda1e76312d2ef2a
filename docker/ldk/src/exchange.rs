//! Forwards that wait for an answer, and the process that answers them.
//!
//! With no process attached, a new HTLC waits ten seconds for one and is then failed. An HTLC that a process has
//! acknowledged waits until that process returns, without a time limit. So does every HTLC that LDK offers again at its
//! start, because a process may have acknowledged it earlier. LDK itself fails a forward `FAIL_BACK_BLOCKS` before its
//! outgoing expiry (HTLC_FAIL_BACK_BUFFER in its channelmonitor.rs); `fails_at` is that height.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lightning::ln::channelmanager::InterceptId;
use lightning::ln::types::ChannelId;
use serde_json::{json, Value};
use tokio::sync::Notify;

use crate::session::{Sessions, ATTACH_TIME, OFFER};

/// A request for events is answered after this time at the latest, even without events.
const POLL_TIME: Duration = Duration::from_secs(2);
/// The number of blocks before its outgoing expiry at which LDK fails an intercepted HTLC.
pub const FAIL_BACK_BLOCKS: u32 = 39;

/// The incoming channel of an HTLC, and its id on that channel.
pub type HtlcKey = (ChannelId, u64);

/// An intercepted HTLC that LDK holds until this daemon answers.
pub struct Held {
    pub intercept_id: InterceptId,
    /// The outgoing channel's short channel id in the onion.
    pub next_scid: u64,
    pub outgoing_msat: u64,
    /// LDK fails the HTLC at this height.
    pub fails_at: u32,
    /// The payload of the event for the process.
    pub payload: Value,
    since: Instant,
    taken: bool,
}

impl Held {
    /// Create from the fields of LDK's event; `payload` has the other fields.
    pub fn new(intercept_id: InterceptId, next_scid: u64, outgoing_msat: u64, fails_at: u32, payload: Value) -> Self {
        let (since, taken) = (Instant::now(), false);
        Held { intercept_id, next_scid, outgoing_msat, fails_at, payload, since, taken }
    }
}

struct State {
    sessions: Sessions,
    held: HashMap<HtlcKey, Held>,
    starting: bool,
}

/// The held HTLCs, and the events and session of the attached process. Safe to use from several threads.
pub struct Exchange {
    state: Mutex<State>,
    news: Notify,
}

impl Exchange {
    /// Create without held HTLCs and without a session. Until a peer connects, no offered HTLC can be new.
    pub fn new() -> Self {
        let sessions = Sessions::new(Instant::now());
        let state = State { sessions, held: HashMap::new(), starting: true };
        Exchange { state: Mutex::new(state), news: Notify::new() }
    }

    /// Start a session, offer all held HTLCs to it, and return its number.
    pub fn attach(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        let session = state.sessions.attach(Instant::now());
        let State { sessions, held, .. } = &mut *state;
        for held in held.values() {
            sessions.report(OFFER, held.payload.clone());
        }
        self.news.notify_waiters();
        session
    }

    /// Wait for events after this number, at most `POLL_TIME`; return `None` if the session is over.
    pub async fn events(&self, session: u64, after: u64) -> Option<Value> {
        let deadline = tokio::time::Instant::now() + POLL_TIME;
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(page) = self.page(session, after, tokio::time::Instant::now() >= deadline)? {
                return Some(page);
            }
            let _ = tokio::time::timeout_at(deadline, news).await;
        }
    }

    fn page(&self, session: u64, after: u64, empty_too: bool) -> Option<Option<Value>> {
        let mut state = self.state.lock().unwrap();
        if !state.sessions.is_current(session) {
            return None;
        }
        let State { sessions, held, .. } = &mut *state;
        sessions.acknowledge(after, |offer| {
            if let Some(held) = key_of(offer).and_then(|key| held.get_mut(&key)) {
                held.taken = true;
            }
        });
        sessions.last_heard = Instant::now();
        Some((empty_too || sessions.has_events()).then(|| sessions.page()))
    }

    /// Report an event to the attached process.
    pub fn report(&self, topic: &'static str, payload: Value) {
        let mut state = self.state.lock().unwrap();
        state.starting &= topic != "peer_connected";
        state.sessions.report(topic, payload);
        self.news.notify_waiters();
    }

    /// Hold an HTLC that LDK has intercepted, and offer it to the attached process.
    pub fn hold(&self, key: HtlcKey, mut held: Held) {
        let mut state = self.state.lock().unwrap();
        held.taken = state.starting;
        state.sessions.report(OFFER, held.payload.clone());
        state.held.insert(key, held);
        self.news.notify_waiters();
    }

    /// Remove and return an HTLC that is about to be answered; `None` if it is not held (any more).
    pub fn take(&self, key: &HtlcKey) -> Option<Held> {
        self.state.lock().unwrap().held.remove(key)
    }

    /// Handle a new height. LDK itself fails HTLCs that have reached `fails_at`, so they are no longer held.
    pub fn block(&self, height: u32) {
        let mut state = self.state.lock().unwrap();
        let State { sessions, held, .. } = &mut *state;
        held.retain(|_, held| {
            if height >= held.fails_at {
                sessions.report("htlc_given_up", held.payload.clone());
            }
            height < held.fails_at
        });
        sessions.report("block", json!({"height": height}));
        self.news.notify_waiters();
    }

    /// Return the HTLCs to be failed because no process has attached in time.
    #[must_use]
    pub fn tick(&self, now: Instant) -> Vec<Held> {
        let mut state = self.state.lock().unwrap();
        let State { sessions, held, .. } = &mut *state;
        sessions.tick(now);
        if sessions.attached() {
            return Vec::new();
        }
        let last_heard = sessions.last_heard;
        let waits = |held: &Held| held.taken || now.duration_since(held.since.max(last_heard)) < ATTACH_TIME;
        let given_up: Vec<_> = held.iter().filter(|(_, held)| !waits(held)).map(|(key, _)| *key).collect();
        given_up.iter().filter_map(|key| held.remove(key)).collect()
    }
}

/// The HTLC that the payload of an offer identifies.
fn key_of(payload: &Value) -> Option<HtlcKey> {
    let channel = crate::hex::array(payload["channel_id"].as_str()?)?;
    Some((ChannelId(channel), payload["htlc_id"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HtlcKey = (ChannelId([7; 32]), 3);

    fn held() -> Held {
        let payload = json!({"channel_id": crate::hex::text(&KEY.0 .0), "htlc_id": KEY.1});
        Held::new(InterceptId([1; 32]), 5, 1_000, 200, payload)
    }

    async fn one_event(exchange: &Exchange, session: u64, after: u64) -> Value {
        exchange.events(session, after).await.unwrap()["events"][0].clone()
    }

    fn later(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn what_is_held_is_offered_to_whoever_attaches_and_answered_once() {
        let exchange = Exchange::new();
        exchange.hold(KEY, held());
        for _ in 0..2 {
            let session = exchange.attach();
            let event = one_event(&exchange, session, 0).await;
            assert_eq!((&event["topic"], &event["payload"]["htlc_id"]), (&json!(OFFER), &json!(3)));
        }
        assert!(exchange.take(&KEY).is_some());
        assert!(exchange.take(&KEY).is_none());
    }

    #[tokio::test]
    async fn a_new_session_ends_the_question_of_the_old_one() {
        let exchange = Exchange::new();
        let old = exchange.attach();
        let (answer, _) = tokio::join!(exchange.events(old, 0), async { exchange.attach() });
        assert!(answer.is_none());
    }

    #[test]
    fn a_new_htlc_waits_ten_seconds_for_a_process() {
        let exchange = Exchange::new();
        exchange.report("peer_connected", json!({}));
        exchange.hold(KEY, held());
        assert!(exchange.tick(later(9)).is_empty());
        assert_eq!(exchange.tick(later(11)).len(), 1);
        assert!(exchange.take(&KEY).is_none());
    }

    #[test]
    fn what_was_held_before_a_restart_waits_for_its_process() {
        let exchange = Exchange::new();
        exchange.hold(KEY, held());
        assert!(exchange.tick(later(3_600)).is_empty());
    }

    #[tokio::test]
    async fn what_a_process_took_notice_of_waits_for_it() {
        let exchange = Exchange::new();
        exchange.report("peer_connected", json!({}));
        let session = exchange.attach();
        exchange.hold(KEY, held());
        let number = one_event(&exchange, session, 0).await["number"].as_u64().unwrap();
        exchange.page(session, number, true).unwrap();
        assert!(exchange.tick(later(3_600)).is_empty());
        assert!(exchange.take(&KEY).is_some());
    }

    #[tokio::test]
    async fn what_ldk_fails_by_itself_is_held_no_more() {
        let exchange = Exchange::new();
        exchange.hold(KEY, held());
        let session = exchange.attach();
        exchange.block(199);
        exchange.block(200);
        let events = exchange.events(session, 0).await.unwrap()["events"].clone();
        let topics: Vec<_> = events.as_array().unwrap().iter().map(|e| e["topic"].clone()).collect();
        assert_eq!(topics, [OFFER, "block", "htlc_given_up", "block"]);
        assert!(exchange.take(&KEY).is_none());
    }
}
