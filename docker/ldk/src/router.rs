//! Routes for payments: LDK's, with additional limits for the parts of a payment.
//!
//! LDK has no limit for the size of one part, and cannot be given a required first hop. It adds up to three days to the
//! last hop's expiry, to hide how far away the payee is; a held payment would lock its funds for that much longer. So
//! this padding is removed, except for some blocks that may be mined in transit. With a part limit, the parts are of
//! equal size. Their paths are found one after the other, and each search counts the earlier parts as in flight.

use std::collections::HashMap;
use std::sync::Mutex;

use bitcoin::secp256k1::{PublicKey, Secp256k1, Signing, Verification};
use lightning::blinded_path::payment::{BlindedPaymentPath, ReceiveTlvs};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::PaymentId;
use lightning::routing::router::{InFlightHtlcs, Payee, Route, RouteParameters, Router};
use lightning::sign::ReceiveAuthKey;
use lightning::types::payment::PaymentHash;

use crate::types::Paths;

/// The padding of the last hop's expiry: blocks that may be mined in transit. LDK itself counts from the next block.
pub const PADDING_BLOCKS: u32 = 2;

/// The limits that one payment sets.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// The peer through whose channels all parts leave.
    pub first_hop: Option<PublicKey>,
    /// The maximum amount that one part delivers to the payee, in msat.
    pub max_part_msat: Option<u64>,
}

/// A part: the amount that leaves this node, and the amount of it that the payee receives, in msat.
pub type Part = (u64, u64);

/// LDK's router, with the limits of each payment.
pub struct PartsRouter {
    paths: Paths,
    demands: Mutex<HashMap<PaymentId, Demands>>,
    parts: Mutex<HashMap<PaymentId, Vec<Part>>>,
}

impl PartsRouter {
    /// Take paths from this router.
    pub fn new(paths: Paths) -> Self {
        PartsRouter { paths, demands: Mutex::default(), parts: Mutex::default() }
    }

    /// Apply these limits to the routes of a payment, until `forget` is called for it.
    pub fn demand(&self, payment: PaymentId, demands: Demands) {
        self.demands.lock().unwrap().insert(payment, demands);
    }

    /// Return all parts of all routes that were found for a payment in this run.
    pub fn parts(&self, payment: &PaymentId) -> Vec<Part> {
        self.parts.lock().unwrap().get(payment).cloned().unwrap_or_default()
    }

    /// Forget a payment that is over.
    pub fn forget(&self, payment: &PaymentId) {
        self.demands.lock().unwrap().remove(payment);
        self.parts.lock().unwrap().remove(payment);
    }

    fn split(
        &self,
        payer: &PublicKey,
        params: &RouteParameters,
        first_hops: Option<&[&ChannelDetails]>,
        mut in_flight: InFlightHtlcs,
        max_part_msat: u64,
    ) -> Result<Route, &'static str> {
        let mut paths = Vec::new();
        let mut fee_left = params.max_total_routing_fee_msat;
        let sizes = equal_parts(params.final_value_msat, max_part_msat);
        if sizes.len() > usize::from(params.payment_params.max_path_count) {
            return Err("it does not fit into so many parts of this size");
        }
        for size in sizes {
            let mut one = params.clone();
            one.final_value_msat = size;
            one.max_total_routing_fee_msat = fee_left;
            one.payment_params.max_path_count = 1;
            let route = self.paths.find_route(payer, &one, first_hops, clone_of(&in_flight)?)?;
            fee_left = fee_left.map(|left| left.saturating_sub(route.get_total_fees()));
            for path in route.paths {
                in_flight.process_path(&path, *payer);
                paths.push(path);
            }
        }
        Ok(Route { paths, route_params: Some(params.clone()) })
    }
}

/// Return the fewest parts of equal size, to 1 msat, of which none is larger than `max_part_msat`.
fn equal_parts(total_msat: u64, max_part_msat: u64) -> Vec<u64> {
    let count = total_msat.div_ceil(max_part_msat.max(1)).max(1);
    let larger = total_msat % count;
    (0..count).map(|number| total_msat / count + u64::from(number < larger)).collect()
}

fn clone_of(in_flight: &InFlightHtlcs) -> Result<InFlightHtlcs, &'static str> {
    Ok(in_flight.clone())
}

impl Router for PartsRouter {
    fn find_route(
        &self,
        payer: &PublicKey,
        params: &RouteParameters,
        first_hops: Option<&[&ChannelDetails]>,
        in_flight: InFlightHtlcs,
    ) -> Result<Route, &'static str> {
        self.paths.find_route(payer, params, first_hops, in_flight)
    }

    fn find_route_with_id(
        &self,
        payer: &PublicKey,
        params: &RouteParameters,
        first_hops: Option<&[&ChannelDetails]>,
        in_flight: InFlightHtlcs,
        _: PaymentHash,
        payment: PaymentId,
    ) -> Result<Route, &'static str> {
        let demands = self.demands.lock().unwrap().get(&payment).cloned().unwrap_or_default();
        let allowed: Option<Vec<&ChannelDetails>> = first_hops.map(|hops| {
            let through =
                |hop: &&&ChannelDetails| demands.first_hop.is_none_or(|peer| hop.counterparty.node_id == peer);
            hops.iter().filter(through).copied().collect()
        });
        let allowed = allowed.as_deref();
        let mut route = match demands.max_part_msat {
            Some(most) if most < params.final_value_msat => self.split(payer, params, allowed, in_flight, most),
            _ => self.find_route(payer, params, allowed, in_flight),
        }?;
        if let Payee::Clear { final_cltv_expiry_delta, .. } = params.payment_params.payee {
            for last in route.paths.iter_mut().filter_map(|path| path.hops.last_mut()) {
                last.cltv_expiry_delta = final_cltv_expiry_delta + PADDING_BLOCKS;
            }
        }
        let parts = route.paths.iter().map(|path| (path.final_value_msat() + path.fee_msat(), path.final_value_msat()));
        self.parts.lock().unwrap().entry(payment).or_default().extend(parts);
        Ok(route)
    }

    fn create_blinded_payment_paths<T: Signing + Verification>(
        &self,
        recipient: PublicKey,
        local_node_receive_key: ReceiveAuthKey,
        first_hops: Vec<ChannelDetails>,
        tlvs: ReceiveTlvs,
        amount_msats: Option<u64>,
        secp: &Secp256k1<T>,
    ) -> Result<Vec<BlindedPaymentPath>, ()> {
        self.paths.create_blinded_payment_paths(recipient, local_node_receive_key, first_hops, tlvs, amount_msats, secp)
    }
}

#[cfg(test)]
mod tests {
    use super::equal_parts;

    #[test]
    fn parts_are_equal_and_none_is_too_large() {
        assert_eq!(equal_parts(10, 4), [4, 3, 3]);
        assert_eq!(equal_parts(10, 10), [10]);
        assert_eq!(equal_parts(1, u64::MAX), [1]);
        assert_eq!(equal_parts(7, 3).iter().sum::<u64>(), 7);
    }
}
