//! What a router does at its uplink, changed while its test runs.

use std::panic::Location;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use netns_test_model::graph::{Firewall, Nat};

use super::{Settings, replace};
use crate::error::{Doing, Error};
use crate::fault;
use crate::network::Net;
use crate::node::Node;
use crate::plan::{GatewayPlan, NatPlan};

/// What tests have changed of one router, the latest last.
#[derive(Debug, Default)]
pub(crate) struct GatewayChanges {
    /// What was declared, once something has been changed.
    declared: Option<GatewayPlan>,
    last: u64,
    changes: Vec<(u64, Change)>,
    settings: Settings,
}

#[derive(Clone, Debug)]
enum Change {
    Nat(Option<Nat>),
    Firewall(Firewall),
}

impl Change {
    /// What the report tells of it.
    fn describe(&self, router: &str) -> String {
        match self {
            Self::Nat(None) => format!("`{router}` does not translate"),
            Self::Nat(Some(_)) => format!("the NAT of `{router}` is changed"),
            Self::Firewall(firewall) => format!("the firewall of `{router}` is changed: {}", firewall.name()),
        }
    }
}

impl GatewayChanges {
    /// What the router is to do now.
    fn in_force(&self, declared: &GatewayPlan) -> GatewayPlan {
        let mut gateway = declared.clone();
        for (_, change) in &self.changes {
            match change {
                Change::Nat(nat) => {
                    gateway.nat = nat.clone().zip(gateway.outer).map(|(nat, outer)| NatPlan { outer, nat });
                }
                Change::Firewall(firewall) => gateway.firewall = *firewall,
            }
        }
        gateway
    }
}

/// What a router does until this is dropped, from [`Router::set_nat`](crate::Router::set_nat) or
/// [`Router::set_firewall`](crate::Router::set_firewall).
#[derive(Debug)]
#[must_use = "the router does what it did before when this is dropped"]
pub struct ChangedRouter {
    node: Node,
    net: Weak<Net>,
    /// `None` when it has ended; and what the report tells of it until then.
    number: Option<(u64, fault::Change)>,
}

impl ChangedRouter {
    #[track_caller]
    pub(crate) fn nat(node: &Node, nat: Option<Nat>) -> Result<Self, Error> {
        let operation = || format!("change the NAT of `{}`", node.name());
        let gateway = gateway(node, operation)?;
        if nat.is_some() && gateway.outer.is_none() {
            let text = format!("its uplink `{}` has no IPv4 address to translate to", gateway.uplink);
            return Err(Error::because(operation(), text));
        }
        let wrong: Vec<String> = nat.iter().flat_map(Nat::problems).map(|(_, text)| text).collect();
        match wrong.is_empty() {
            true => Self::change(node, Change::Nat(nat), operation, Location::caller()),
            false => Err(Error::because(operation(), wrong.join("; "))),
        }
    }

    #[track_caller]
    pub(crate) fn firewall(node: &Node, firewall: Firewall) -> Result<Self, Error> {
        let operation = || format!("change the firewall of `{}`", node.name());
        gateway(node, operation)?;
        Self::change(node, Change::Firewall(firewall), operation, Location::caller())
    }

    fn change(
        node: &Node,
        change: Change,
        operation: impl Fn() -> String,
        place: &Location<'_>,
    ) -> Result<Self, Error> {
        let net = node.net().doing(&operation)?;
        let text = change.describe(node.name());
        let mut changes = changes(node);
        changes.last += 1;
        let number = changes.last;
        changes.changes.push((number, change));
        if let Err(error) = enforce(node, &mut changes, &operation) {
            changes.changes.pop();
            return Err(error);
        }
        drop(changes);
        let note = net.faults.begin_change(&text, place);
        Ok(Self { node: node.clone(), net: Arc::downgrade(&net), number: Some((number, note)) })
    }

    /// Has the router do again what it did before, as far as no other guard is in its place.
    ///
    /// # Errors
    /// The kernel's own: somebody else has removed the router's tables of nf_tables, for instance.
    pub fn repair(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some((number, note)) = self.number.take() else { return Ok(()) };
        let Some(net) = self.net.upgrade().filter(|net| !net.has_ended()) else {
            // With the network, all of it is gone.
            return Ok(());
        };
        let operation = || format!("put back what `{}` does at its uplink", self.node.name());
        let mut changes = changes(&self.node);
        changes.changes.retain(|(other, _)| *other != number);
        match enforce(&self.node, &mut changes, operation) {
            // Torn down meanwhile.
            Err(_) if net.has_ended() => Ok(()),
            Ok(()) => {
                net.faults.end_change(note);
                Ok(())
            }
            refused => refused,
        }
    }
}

impl Drop for ChangedRouter {
    fn drop(&mut self) {
        let net = Weak::clone(&self.net);
        if let (Err(error), Some(net)) = (self.end(), net.upgrade()) {
            net.faults.failed(format!("{error} (as the guard of a changed router was dropped)"));
        }
    }
}

fn changes(node: &Node) -> MutexGuard<'_, GatewayChanges> {
    node.shared().changed_gateway.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the router does at its uplink, if it has one.
fn gateway(node: &Node, operation: impl Fn() -> String) -> Result<GatewayPlan, Error> {
    node.gateway().ok_or_else(|| {
        let text = "no uplink of it was declared: declare one, as in `routers(gate { firewall = open, uplink = isp })`";
        Error::because(operation(), text)
    })
}

/// Has a router go on with other interfaces or another outer address, as the plan says, and with what tests have changed.
pub(crate) fn redeclare(node: &Node, declared: &GatewayPlan) -> Result<(), Error> {
    let mut changes = changes(node);
    changes.declared = Some(declared.clone());
    enforce(node, &mut changes, || format!("tell `{}` of another link", node.name()))
}

/// Has the router do what is in force now.
fn enforce(node: &Node, changes: &mut GatewayChanges, operation: impl Fn() -> String) -> Result<(), Error> {
    let before = gateway(node, &operation)?;
    let declared = changes.declared.get_or_insert_with(|| before.clone()).clone();
    let now = changes.in_force(&declared);
    let socket = node.nft().doing(&operation)?;
    let (does, replaced) = node
        .in_network(|| replace(node.name(), &socket, &before, &now, &mut changes.settings))
        .doing(&operation)?;
    node.shared().change_plan(|plan| plan.gateway = Some(does.clone()));
    replaced
}
