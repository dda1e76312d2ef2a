//! The JSON-RPC methods: see README.md.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::PaymentId;
use lightning::ln::types::ChannelId;
use lightning::routing::scoring::{ProbabilisticScorer, ProbabilisticScoringDecayParameters};
use lightning::sign::{NodeSigner, Recipient};
use lightning::types::payment::PaymentHash;
use serde::Deserialize;
use serde_json::{json, Value};

use crate::custom_messages::{CustomMessage, FIRST_TYPE};
use crate::hex;
use crate::node::Node;
use crate::offers::OfferOrder;
use crate::onions;
use crate::payments::Order;
use crate::rpc::{code, parameters, Answer, Refusal};
use crate::static_invoices;
use crate::views;

/// The longest time that one call waits for a payment to end.
const MAX_WAIT_SECONDS: u64 = 60;
/// How long, and at which interval, a force-close waits until bitcoind has the commitment transaction.
const BROADCAST_TIME: Duration = Duration::from_secs(5);
const BROADCAST_LOOK_TIME: Duration = Duration::from_millis(50);

/// Answer one request.
pub async fn call(node: Arc<Node>, method: String, params: Value) -> Answer {
    match method.as_str() {
        "getinfo" => Ok(views::info(&node)),
        "newaddr" => Ok(json!({"address": node.wallet.new_address().to_string()})),
        "listfunds" => Ok(json!({"confirmed_sat": node.wallet.confirmed_sat()})),
        "connect" => connect(&node, parameters(params)?).await,
        "disconnect" => disconnect(&node, &parameters(params)?),
        "listpeers" => Ok(views::peers(&node)),
        "gettraffic" => Ok(views::traffic(&node)),
        "openchannel" => open_channel(&node, parameters(params)?).await,
        "forceclose" => force_close(&node, parameters(params)?).await,
        "listchannels" => Ok(views::channels(&node)),
        "announce" => Ok(json!({"announced": node.announce().is_some()})),
        "listgraph" => Ok(views::graph(&node)),
        "getnode" => get_node(&node, &parameters(params)?),
        "invoice" => invoice(&node, &parameters(params)?),
        "lookupinvoice" => Ok(node.invoices.look_up(&parameters::<Hash>(params)?.hash()?)),
        "decode" => Ok(crate::invoices::decode(&parameters::<Text>(params)?.text)?),
        "pay" => {
            let hash = node.payments.pay(&parameters::<Order>(params)?)?;
            Ok(json!({"payment_hash": hex::text(&hash.0)}))
        }
        "lookuppayment" => Ok(node.payments.look_up(&parameters::<Hash>(params)?.hash()?)),
        "waitpayment" => wait_payment(&node, &parameters(params)?).await,
        "staticinvoicepaths" => {
            Ok(json!({"paths": node.static_invoices.paths_for(&parameters::<Peer>(params)?.peer)?}))
        }
        "setstaticinvoiceserver" => set_static_invoice_server(&node, &parameters(params)?),
        "asyncoffer" => async_offer(&node),
        "listreceipts" => Ok(node.offers.receipts.list()),
        "payoffer" => pay_offer(&node, &parameters(params)?),
        "lookupofferpayment" => Ok(node.offers.look_up(&parameters::<OfferPayment>(params)?.id()?)),
        "listmailbox" => Ok(json!({"messages": node.static_invoices.mailbox.count(&parameters::<Peer>(params)?.peer)})),
        "resetscores" => Ok(reset_scores(&node)),
        "signmessage" => sign(&node, &parameters::<Text>(params)?.text),
        "ecdh" => ecdh(&node, &parameters(params)?),
        "sendonionmessage" => send_onion_message(&node, &parameters(params)?),
        "sendcustommessage" => send_custom_message(&node, &parameters(params)?),
        "attach" => Ok(json!({"session": node.exchange.attach()})),
        "events" => events(&node, &parameters(params)?).await,
        "answer" => answer(&node, &parameters(params)?),
        _ => Err(Refusal::new(code::UNKNOWN_METHOD, format!("unknown method {method:?}"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hash {
    payment_hash: String,
}

impl Hash {
    fn hash(&self) -> Result<PaymentHash, Refusal> {
        Ok(PaymentHash(bytes("payment_hash", &self.payment_hash)?))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    peer: PublicKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    peer: PublicKey,
    address: String,
}

async fn connect(node: &Node, to: Address) -> Answer {
    node.connections.connect(to.peer, &to.address).await?;
    Ok(json!({}))
}

fn disconnect(node: &Node, from: &Peer) -> Answer {
    match node.connections.disconnect(from.peer) {
        true => Ok(json!({})),
        false => Err(not_connected(&from.peer)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    peer: PublicKey,
    capacity_sat: u64,
    #[serde(default)]
    push_msat: u64,
    #[serde(default)]
    private: bool,
}

async fn open_channel(node: &Node, of: Opening) -> Answer {
    let opened = node.funding.open(of.peer, of.capacity_sat, of.push_msat, of.private).await?;
    Ok(json!({"funding": opened.to_string()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    channel_id: String,
    peer: PublicKey,
}

/// Close a channel. Return once bitcoind has the commitment transaction: LDK broadcasts it later than it returns, when
/// the manager is on disk, because its monitors are written after that (setup.rs).
async fn force_close(node: &Node, of: Channel) -> Answer {
    let id = ChannelId(bytes("channel_id", &of.channel_id)?);
    let channels = node.manager.list_channels_with_counterparty(&of.peer);
    let funding = channels.iter().find(|channel| channel.channel_id == id).and_then(|channel| channel.funding_txo);
    node.manager
        .force_close_broadcasting_latest_txn(&id, &of.peer, "closed by its user".into())
        .map_err(|error| format!("LDK does not close it: {error:?}"))?;
    if let Some(funding) = funding {
        let broadcast = async {
            while !node.bitcoind.is_spent(funding.into_bitcoin_outpoint()).await? {
                tokio::time::sleep(BROADCAST_LOOK_TIME).await;
            }
            Ok::<_, String>(())
        };
        tokio::time::timeout(BROADCAST_TIME, broadcast).await.map_err(|_| {
            format!("bitcoind has not accepted the commitment transaction in {} s", BROADCAST_TIME.as_secs())
        })??;
    }
    Ok(json!({}))
}

fn get_node(node: &Node, of: &Peer) -> Answer {
    Ok(views::graph_node(node, &of.peer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInvoice {
    /// `None`: the payer chooses the amount.
    #[serde(default)]
    amount_msat: Option<u64>,
    #[serde(default)]
    description: String,
    #[serde(default = "hour")]
    expiry_seconds: u32,
}

fn hour() -> u32 {
    3_600
}

fn invoice(node: &Node, of: &NewInvoice) -> Answer {
    let made = node.invoices.create(of.amount_msat, &of.description, of.expiry_seconds)?;
    Ok(json!({"bolt11": made}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Waiting {
    payment_hash: String,
    wait_seconds: u64,
}

async fn wait_payment(node: &Node, of: &Waiting) -> Answer {
    let hash = PaymentHash(bytes("payment_hash", &of.payment_hash)?);
    let time = Duration::from_secs(of.wait_seconds.min(MAX_WAIT_SECONDS));
    node.payments.wait(&hash, time).await;
    Ok(node.payments.look_up(&hash))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Paths {
    paths: Vec<String>,
}

/// Use the LSP that made these paths to serve this node's static invoices.
fn set_static_invoice_server(node: &Node, of: &Paths) -> Answer {
    let paths = static_invoices::paths(&of.paths);
    let paths = paths.ok_or(Refusal::new(code::BAD_PARAMETERS, "paths are not blinded message paths in hex"))?;
    node.manager
        .set_paths_to_static_invoice_server(paths)
        .map_err(|()| Refusal::new(code::BAD_PARAMETERS, "there is no path"))?;
    node.peers.process_events();
    Ok(json!({}))
}

fn async_offer(node: &Node) -> Answer {
    let offer = node.manager.get_async_receive_offer();
    let offer = offer.map_err(|()| "the LSP has not yet confirmed an offer's static invoice".to_owned())?;
    Ok(json!({"offer": offer.to_string()}))
}

fn pay_offer(node: &Node, of: &OfferOrder) -> Answer {
    let id = node.offers.pay(of)?;
    node.peers.process_events();
    Ok(json!({"payment_id": hex::text(&id.0)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferPayment {
    payment_id: String,
}

impl OfferPayment {
    fn id(&self) -> Result<PaymentId, Refusal> {
        Ok(PaymentId(bytes("payment_id", &self.payment_id)?))
    }
}

/// Discard what the scorer learned from failed payments.
fn reset_scores(node: &Node) -> Value {
    *node.scorer.write().unwrap() =
        ProbabilisticScorer::new(ProbabilisticScoringDecayParameters::default(), node.graph.clone(), node.log.clone());
    json!({})
}

fn sign(node: &Node, text: &str) -> Answer {
    let signed = node.keys.sign_message(text.as_bytes());
    Ok(json!({"zbase": signed.map_err(|()| "LDK does not sign".to_owned())?}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    point: PublicKey,
}

/// Diffie-Hellman with the node's key: SHA256 of the compressed shared point (BOLT 4).
fn ecdh(node: &Node, of: &Point) -> Answer {
    let shared = node.keys.ecdh(Recipient::Node, &of.point, None);
    let shared = shared.map_err(|()| "LDK does not lend its key".to_owned())?;
    Ok(json!({"shared_key": hex::text(&shared.secret_bytes())}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnionMessage {
    peer: PublicKey,
    path_key: String,
    packet: String,
}

fn send_onion_message(node: &Node, of: &OnionMessage) -> Answer {
    let given = hex::bytes(&of.path_key).zip(hex::bytes(&of.packet));
    let message = given.and_then(|(path_key, packet)| onions::message(&path_key, &packet));
    let message = message.ok_or(Refusal::new(code::BAD_PARAMETERS, "no onion message"))?;
    if !node.onions.send(of.peer, message) {
        return Err(not_connected(&of.peer));
    }
    node.peers.process_events();
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Custom {
    peer: PublicKey,
    #[serde(rename = "type")]
    kind: u16,
    data: String,
}

fn send_custom_message(node: &Node, of: &Custom) -> Answer {
    let data = hex::bytes(&of.data).filter(|data| data.len() <= 65_533);
    let data = data.ok_or(Refusal::new(code::BAD_PARAMETERS, "data is hex of at most 65533 bytes"))?;
    if of.kind < FIRST_TYPE {
        return Err(Refusal::new(code::BAD_PARAMETERS, "types below 32768 are not for experiments"));
    }
    if !node.messages.send(of.peer, CustomMessage { kind: of.kind, data }) {
        return Err(not_connected(&of.peer));
    }
    node.peers.process_events();
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    session: u64,
    after: u64,
}

async fn events(node: &Node, of: &Question) -> Answer {
    let told = node.exchange.events(of.session, of.after).await;
    told.ok_or(Refusal::new(code::SESSION_OVER, "this session is over: attach again"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HtlcAnswer {
    channel_id: String,
    htlc_id: u64,
    result: Verdict,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Continue,
    Fail,
}

fn answer(node: &Node, of: &HtlcAnswer) -> Answer {
    let key = (ChannelId(bytes("channel_id", &of.channel_id)?), of.htlc_id);
    let Some(held) = node.exchange.take(&key) else { return Ok(json!({"answered": false})) };
    match of.result {
        Verdict::Continue => node.forwards.resume(key, held),
        Verdict::Fail => node.forwards.fail(&key, &held),
    }
    Ok(json!({"answered": true}))
}

fn bytes<const N: usize>(name: &str, text: &str) -> Result<[u8; N], Refusal> {
    let read = hex::array(text);
    read.ok_or(Refusal::new(code::BAD_PARAMETERS, format!("{name} is not {N} bytes of hex")))
}

fn not_connected(peer: &PublicKey) -> Refusal {
    Refusal::new(code::PEER_NOT_CONNECTED, format!("peer {peer} is not connected"))
}
