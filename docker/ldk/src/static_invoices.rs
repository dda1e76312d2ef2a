//! What LDK leaves to the application of an LSP for often-offline payees (BOLT 12 static invoices): it keeps their
//! static invoices for payers, and the onion messages that come for them while they are away.
//!
//! Both are on disk, and bounded: by the number of our peers that we have a channel with, and for each of them.

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

/// Of one payee; LDK's payees have ten (MAX_CACHED_OFFERS_TARGET in its async_receive_offer_cache.rs).
const MAX_SLOTS: u16 = 10;
const INVOICES: &str = "static_invoices";
const PATHS: &str = "static_invoice_paths";

/// The invoices and messages that are kept for payees. Safe to use from several threads.
pub struct StaticInvoices {
    enabled: bool,
    manager: Arc<Manager>,
    messenger: Arc<Messenger>,
    store: Arc<FilesystemStore>,
    pub mailbox: Mailbox,
    /// Peers whose messages LDK had no room for.
    unfinished: Mutex<HashSet<PublicKey>>,
}

impl StaticInvoices {
    /// With what is on disk; of no use to payees unless it is enabled.
    pub fn new(enabled: bool, manager: Arc<Manager>, messenger: Arc<Messenger>, store: Arc<FilesystemStore>) -> Self {
        let mailbox = Mailbox(store.clone());
        StaticInvoices { enabled, manager, messenger, store, mailbox, unfinished: Mutex::default() }
    }

    /// Paths by which a peer asks to be served; it gets them by a way of its own.
    pub fn paths_for(&self, peer: &PublicKey) -> Result<Vec<String>, String> {
        if !self.enabled {
            return Err("this node serves no static invoices: it runs without --enable-htlc-hold".into());
        }
        let paths = self.manager.blinded_paths_for_async_recipient(peer.serialize().to_vec(), None);
        let paths = paths.map_err(|()| "LDK makes no path to this node".to_owned())?;
        Ok(paths.iter().map(|path| hex::text(&path.encode())).collect())
    }

    /// Keep the invoice of a payee, in place of an earlier one of this slot, and tell it so.
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

    /// Answer a payer with the invoice of this payee, and pass its request on to the payee, who may be there.
    pub fn serve(&self, recipient: &[u8], slot: u16, request: InvoiceRequest, payer: Responder) {
        let (payee, slot) = (hex::text(recipient), slot.to_string());
        let invoice = KVStoreSync::read(&*self.store, INVOICES, &payee, &slot).ok();
        let invoice = invoice.and_then(|bytes| StaticInvoice::try_from(bytes).ok());
        let path = KVStoreSync::read(&*self.store, PATHS, &payee, &slot).ok();
        let path = path.and_then(|bytes| BlindedMessagePath::read(&mut Cursor::new(bytes)).ok());
        if let (Some(invoice), Some(path)) = (invoice, path) {
            // An error: the request is not for this invoice. Its payer then waits in vain, as for any other.
            let _ = self.manager.respond_to_static_invoice_request(invoice, payer, request, path);
        }
    }

    /// Keep a message that `from` sent for a peer that is away, if there is a channel with that peer.
    pub fn keep(&self, from: &PublicKey, next_hop: &NextMessageHop, message: &OnionMessage) -> io::Result<()> {
        let NextMessageHop::NodeId(peer) = next_hop else { return Ok(()) };
        if !self.enabled || self.manager.list_channels_with_counterparty(peer).is_empty() {
            return Ok(());
        }
        self.mailbox.keep(from, peer, message)
    }

    /// Send a peer that has connected what was kept for it. LDK does not learn whether it arrives.
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

    /// Go on with deliveries that had to stop for want of room; call it now and then. A peer that is away by now gets
    /// the rest when it connects.
    pub fn deliver_more(&self, is_connected: impl Fn(&PublicKey) -> bool) -> io::Result<()> {
        let peers: Vec<PublicKey> = self.unfinished.lock().unwrap().drain().collect();
        peers.iter().filter(|peer| is_connected(peer)).try_for_each(|peer| self.deliver(peer))
    }
}

/// The paths that a payee was given, from hex.
pub fn paths(texts: &[String]) -> Option<Vec<BlindedMessagePath>> {
    let read = |text: &String| BlindedMessagePath::read(&mut Cursor::new(hex::bytes(text)?)).ok();
    texts.iter().map(read).collect()
}
