//! The tasks of an LSP for often-offline payees (BOLT 12 static invoices) that LDK leaves to the application: store
//! their static invoices for payers, and store the onion messages that arrive for them while they are offline.
//!
//! Both are on disk. Their number is bounded for each peer, and by the number of peers with which this node has a
//! channel.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::PublicKey;
use lightning::blinded_path::message::{BlindedMessagePath, NextMessageHop};
use lightning::io::{self, Cursor};
use lightning::ln::msgs::OnionMessage;
use lightning::offers::invoice_request::InvoiceRequest;
use lightning::offers::static_invoice::StaticInvoice;
use lightning::onion_message::messenger::Responder;
use lightning::util::persist::KVStoreSync;
use lightning::util::ser::{Readable, Writeable};
use lightning_persister::fs_store::v1::FilesystemStore;

use crate::hex;
use crate::mailbox::Mailbox;
use crate::types::{Manager, Messenger};

/// The maximum number of invoices of one payee; LDK's payees have ten (MAX_CACHED_OFFERS_TARGET in its
/// async_receive_offer_cache.rs).
const MAX_SLOTS: u16 = 10;
const INVOICES: &str = "static_invoices";
const PATHS: &str = "static_invoice_paths";

/// The invoices and messages that are stored for payees. Safe to use from several threads.
pub struct StaticInvoices {
    enabled: bool,
    manager: Arc<Manager>,
    messenger: Arc<Messenger>,
    store: Arc<FilesystemStore>,
    pub mailbox: Mailbox,
    /// Peers with stored messages for which LDK had no room.
    unfinished: Mutex<HashSet<PublicKey>>,
}

impl StaticInvoices {
    /// Use what is on disk. Payees are served only if `enabled` is set.
    pub fn new(enabled: bool, manager: Arc<Manager>, messenger: Arc<Messenger>, store: Arc<FilesystemStore>) -> Self {
        let mailbox = Mailbox(store.clone());
        StaticInvoices { enabled, manager, messenger, store, mailbox, unfinished: Mutex::default() }
    }

    /// Return the paths by which a peer requests this service. The peer gets them by other means.
    pub fn paths_for(&self, peer: &PublicKey) -> Result<Vec<String>, String> {
        if !self.enabled {
            return Err("this node serves no static invoices: it runs without --enable-htlc-hold".into());
        }
        let paths = self.manager.blinded_paths_for_async_recipient(peer.serialize().to_vec(), None);
        let paths = paths.map_err(|()| "LDK makes no path to this node".to_owned())?;
        Ok(paths.iter().map(|path| hex::text(&path.encode())).collect())
    }

    /// Store the invoice of a payee, in place of an earlier one in this slot, and confirm that to the payee.
    pub fn persist(
        &self,
        recipient: &[u8],
        slot: u16,
        invoice: &StaticInvoice,
        path: &BlindedMessagePath,
        told: Responder,
    ) -> io::Result<()> {
        if slot >= MAX_SLOTS {
            return Ok(());
        }
        let (payee, slot) = (hex::text(recipient), slot.to_string());
        KVStoreSync::write(&*self.store, PATHS, &payee, &slot, path.encode())?;
        KVStoreSync::write(&*self.store, INVOICES, &payee, &slot, invoice.encode())?;
        self.manager.static_invoice_persisted(told);
        Ok(())
    }

    /// Send the payee's invoice to a payer, and forward the payer's request to the payee, who may be online.
    pub fn serve(&self, recipient: &[u8], slot: u16, request: InvoiceRequest, payer: Responder) {
        let (payee, slot) = (hex::text(recipient), slot.to_string());
        let invoice = KVStoreSync::read(&*self.store, INVOICES, &payee, &slot).ok();
        let invoice = invoice.and_then(|bytes| StaticInvoice::try_from(bytes).ok());
        let path = KVStoreSync::read(&*self.store, PATHS, &payee, &slot).ok();
        let path = path.and_then(|bytes| BlindedMessagePath::read(&mut Cursor::new(bytes)).ok());
        if let (Some(invoice), Some(path)) = (invoice, path) {
            // An error means that the request is not for this invoice. The payer then gets no reply, as if no invoice
            // were stored.
            let _ = self.manager.respond_to_static_invoice_request(invoice, payer, request, path);
        }
    }

    /// Store a message that `from` sent for an offline peer, if there is a channel with that peer.
    pub fn keep(&self, from: &PublicKey, next_hop: &NextMessageHop, message: &OnionMessage) -> io::Result<()> {
        let NextMessageHop::NodeId(peer) = next_hop else { return Ok(()) };
        if !self.enabled || self.manager.list_channels_with_counterparty(peer).is_empty() {
            return Ok(());
        }
        self.mailbox.keep(from, peer, message)
    }

    /// Send a peer that has connected the messages stored for it. LDK does not learn whether they arrive.
    pub fn deliver(&self, peer: &PublicKey) -> io::Result<()> {
        self.mailbox.deliver(peer, |message| self.messenger.forward_onion_message(message, peer).is_ok())?;
        let mut unfinished = self.unfinished.lock().unwrap();
        if self.mailbox.count(peer) > 0 {
            unfinished.insert(*peer);
        } else {
            unfinished.remove(peer);
        }
        Ok(())
    }

    /// Continue deliveries that stopped for lack of room; call this periodically. A peer that is offline by then gets
    /// the rest when it connects.
    pub fn deliver_more(&self, is_connected: impl Fn(&PublicKey) -> bool) -> io::Result<()> {
        let peers: Vec<PublicKey> = self.unfinished.lock().unwrap().drain().collect();
        peers.iter().filter(|peer| is_connected(peer)).try_for_each(|peer| self.deliver(peer))
    }
}

/// Decode the paths that a payee was given, from hex.
pub fn paths(texts: &[String]) -> Option<Vec<BlindedMessagePath>> {
    let read = |text: &String| BlindedMessagePath::read(&mut Cursor::new(hex::bytes(text)?)).ok();
    texts.iter().map(read).collect()
}
