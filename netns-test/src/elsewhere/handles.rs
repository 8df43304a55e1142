//! Made by `tests/tests/elsewhere.rs` of the sources for Linux, which have the whole documentation.
#![allow(unused_variables, dead_code, reason = "nothing in here runs")]

use std::any::Any;
use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream,
    UdpSocket,
};
use std::ops::Deref;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output, Stdio};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use netns_test_model::graph::{Conditions, Firewall, Nat, Wire};
use super::endpoint::ToEndpoint;
use super::state::{Address, Link, Neighbour, Protocol, Route, Socket};
use super::{Opaque, refused, unavailable};
use crate::packet::Packet;
use crate::{Argument, Error, FromNetwork, ToPlace, Topology};
/// What a router advertises on a link, for [`Interface::advertise`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is advertised by `Interface::advertise`"]
pub struct Advertisement(Opaque);
impl Advertisement {
    /// A recursive name server (RFC 8106), for as long as the router is a default router. Linux leaves it to programs.
    pub fn dns(self, server: Ipv6Addr) -> Self {
        unavailable()
    }
    /// How often it is advertised, beside answers to solicitations: every second unless it is called.
    pub fn every(self, period: Duration) -> Self {
        unavailable()
    }
    /// For how long the router is a default router: whole seconds, at most 9000; 0 is not at all.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        unavailable()
    }
    /// The MTU of the link for IPv6, in bytes: at least 1280 (RFC 8200).
    pub fn mtu(self, bytes: u32) -> Self {
        unavailable()
    }
    /// A default router for half an hour, as RFC 4861 section 6.2.1 has it, and nothing else.
    pub fn new() -> Self {
        unavailable()
    }
    /// A prefix that is on the link, and that hosts take addresses of: `"2001:db8:7::/64"`. It is valid for 30 days, and preferred for 7.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        unavailable()
    }
}
impl Default for Advertisement {
    fn default() -> Self {
        unavailable()
    }
}
/// A router that advertises, from [`Interface::advertise`], until this is dropped: then it falls silent, as one that has
/// lost its power.
#[derive(Debug)]
#[must_use = "it advertises until this is dropped"]
pub struct Advertising(Opaque);
impl Advertising {
    /// Takes back what was advertised, as a router does that is switched off properly: it is no default router any more, and its
    /// prefixes are not valid. Then it falls silent.
    pub fn withdraw(self) -> Result<(), Error> {
        Err(refused())
    }
}
/// A guard under which the panics of a test's other threads and tasks do not fail it.
#[derive(Debug)]
#[must_use = "panics are allowed until this is dropped"]
pub struct AllowPanics(Opaque);
/// The packets of a network, a node or an interface, from its making on.
#[must_use = "packets are captured until it is dropped"]
pub struct Capture(Opaque);
impl Capture {
    /// [`until`](Self::until) for plain functions.
    pub fn blocking_until(
        &self,
        what: &str,
        is_it: impl FnMut(&Captured) -> bool,
    ) -> Result<Captured, Error> {
        Err(refused())
    }
    /// What has passed up to now.
    pub fn packets(&self) -> Result<Traffic, Error> {
        Err(refused())
    }
    /// Waits for a packet, and returns the first one, which may have passed before.
    pub async fn until(
        &self,
        what: &str,
        is_it: impl FnMut(&Captured) -> bool,
    ) -> Result<Captured, Error> {
        Err(refused())
    }
}
impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A packet as it passed one interface.
#[derive(Clone, Debug)]
pub struct Captured(Opaque);
impl Captured {
    /// The interface that it passed: `eth0`.
    pub fn interface(&self) -> &str {
        unavailable()
    }
    /// The packet itself.
    pub fn into_packet(self) -> Packet {
        unavailable()
    }
    /// Whether the node sent it; otherwise the node received it. On the loopback interface every packet counts as received.
    pub fn is_sent(&self) -> bool {
        unavailable()
    }
    /// The node that sent or received it.
    pub fn node(&self) -> &str {
        unavailable()
    }
    /// When it passed, since the body's start.
    pub fn time(&self) -> Duration {
        unavailable()
    }
}
impl Deref for Captured {
    type Target = Packet;
    fn deref(&self) -> &Packet {
        unavailable()
    }
}
impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// Conditions that hold until this is dropped, from [`LinkHandle::set_conditions`].
#[derive(Debug)]
#[must_use = "the conditions are as before when this is dropped"]
pub struct ChangedConditions(Opaque);
impl ChangedConditions {
    /// Puts the conditions back that held before, as far as no other guard is in their place.
    pub fn repair(self) -> Result<(), Error> {
        Err(refused())
    }
}
/// What a router does until this is dropped, from [`Router::set_nat`](crate::Router::set_nat) or
/// [`Router::set_firewall`](crate::Router::set_firewall).
#[derive(Debug)]
#[must_use = "the router does what it did before when this is dropped"]
pub struct ChangedRouter(Opaque);
impl ChangedRouter {
    /// Has the router do again what it did before, as far as no other guard is in its place.
    pub fn repair(self) -> Result<(), Error> {
        Err(refused())
    }
}
/// A program that was started in a node.
pub struct Child {
    /// Its standard input, where [`Command::stdin`](super::Command::stdin) was given `Stdio::piped()`.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, where [`Command::stdout`](super::Command::stdout) was given `Stdio::piped()`: then it is not captured.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, likewise.
    pub stderr: Option<ChildStderr>,
    opaque: (Opaque,),
}
impl Child {
    /// [`kill`](Child::kill) for plain functions.
    pub fn blocking_kill(&self) -> Result<ExitStatus, Error> {
        Err(refused())
    }
    /// [`wait`](Child::wait) for plain functions.
    pub fn blocking_wait(&self) -> Result<ExitStatus, Error> {
        Err(refused())
    }
    /// [`wait_line`](Child::wait_line) for plain functions.
    pub fn blocking_wait_line(&self, pattern: &str) -> Result<String, Error> {
        Err(refused())
    }
    /// [`wait_with_output`](Child::wait_with_output) for plain functions.
    pub fn blocking_wait_with_output(&self) -> Result<Output, Error> {
        Err(refused())
    }
    /// Its process id, as the test sees it.
    pub fn id(&self) -> u32 {
        unavailable()
    }
    /// Its process id, as it sees it itself: in the PID namespace of the test's programs.
    pub fn id_inside(&self) -> io::Result<u32> {
        unavailable()
    }
    /// Kills it (SIGKILL), and waits until it is gone.
    pub async fn kill(&self) -> Result<ExitStatus, Error> {
        Err(refused())
    }
    /// The lines that it has written up to now, of both streams as they came.
    pub fn lines(&self) -> Vec<String> {
        unavailable()
    }
    /// The node that it runs in.
    pub fn node(&self) -> &Node {
        unavailable()
    }
    /// Sends it a signal, kill(2).
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        Err(refused())
    }
    /// How it ended, if it has.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        unavailable()
    }
    /// Waits for its end.
    pub async fn wait(&self) -> Result<ExitStatus, Error> {
        Err(refused())
    }
    /// Waits until it has written a line that contains `pattern`, on its standard output or error, and returns that line.
    pub async fn wait_line(&self, pattern: &str) -> Result<String, Error> {
        Err(refused())
    }
    /// Waits for its end and the end of its output, and returns both.
    pub async fn wait_with_output(&self) -> Result<Output, Error> {
        Err(refused())
    }
}
impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A program that is to be started in a node, in the shape of [`std::process::Command`].
pub struct Command(Opaque);
impl Command {
    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        unavailable()
    }
    /// Adds arguments.
    pub fn args(
        &mut self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> &mut Self {
        unavailable()
    }
    /// Runs it as the user 0, for programs that insist on it.
    pub fn as_root(&mut self) -> &mut Self {
        unavailable()
    }
    /// [`output`](Command::output) for plain functions.
    pub fn blocking_output(&mut self) -> Result<Output, Error> {
        Err(refused())
    }
    /// [`spawn`](Command::spawn) for plain functions.
    pub fn blocking_spawn(&mut self) -> Result<Child, Error> {
        Err(refused())
    }
    /// [`status`](Command::status) for plain functions.
    pub fn blocking_status(&mut self) -> Result<ExitStatus, Error> {
        Err(refused())
    }
    /// Sets its working directory, a path in the node; by default it is the test process's.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        unavailable()
    }
    /// Sets a variable of its environment.
    pub fn env(
        &mut self,
        name: impl AsRef<OsStr>,
        value: impl AsRef<OsStr>,
    ) -> &mut Self {
        unavailable()
    }
    /// Removes every variable from its environment, PATH too.
    pub fn env_clear(&mut self) -> &mut Self {
        unavailable()
    }
    /// Removes a variable from its environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        unavailable()
    }
    /// Sets variables of its environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        unavailable()
    }
    /// Gives it these bytes as its standard input, and then the end. The last word counts, this one or
    /// [`stdin`](Command::stdin)'s.
    pub fn input(&mut self, bytes: impl Into<Vec<u8>>) -> &mut Self {
        unavailable()
    }
    /// Runs it to its end, and returns how it ended and what it wrote.
    pub async fn output(&mut self) -> Result<Output, Error> {
        Err(refused())
    }
    /// Starts it.
    pub async fn spawn(&mut self) -> Result<Child, Error> {
        Err(refused())
    }
    /// Runs it to its end, and returns how it ended.
    pub async fn status(&mut self) -> Result<ExitStatus, Error> {
        Err(refused())
    }
    /// Sets its standard error, which is not captured then. With `Stdio::piped()` it is [`Child::stderr`].
    pub fn stderr(&mut self, target: impl Into<Stdio>) -> &mut Self {
        unavailable()
    }
    /// Sets its standard input, empty by default. With `Stdio::piped()` it is [`Child::stdin`].
    pub fn stdin(&mut self, source: impl Into<Stdio>) -> &mut Self {
        unavailable()
    }
    /// Sets its standard output, which is not captured then. With `Stdio::piped()` it is [`Child::stdout`].
    pub fn stdout(&mut self, target: impl Into<Stdio>) -> &mut Self {
        unavailable()
    }
    /// Runs it without capabilities; where the test is run by root, as the user 65534, nobody, who owns no file.
    pub fn unprivileged(&mut self) -> &mut Self {
        unavailable()
    }
}
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A node that has crashed, from [`Node::crash`]. It starts again when this is dropped, or by [`restart`](Crashed::restart).
#[must_use = "the node starts again when this is dropped"]
pub struct Crashed(Opaque);
impl Crashed {
    /// The threads that could not be ended, with what they do. They are still in the node.
    pub fn left_behind(&self) -> &[String] {
        unavailable()
    }
    /// The node.
    pub fn node(&self) -> &Node {
        unavailable()
    }
    /// Starts the node again, with its name, addresses, routes and files, and with what [`Node::start`] has started, from its beginning.
    pub fn restart(self) -> Result<(), Error> {
        Err(refused())
    }
}
impl fmt::Debug for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A fault of the network, which ends when this is dropped, or by [`repair`](Fault::repair).
#[must_use = "the fault ends when this is dropped"]
pub struct Fault(Opaque);
impl Fault {
    /// Ends the fault: what it was about works again when this returns, as far as no other fault concerns it.
    pub fn repair(self) -> Result<(), Error> {
        Err(refused())
    }
}
impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// Packets are kept until this is dropped, or until [`release`](Hold::release): then they are delivered, in order.
#[must_use = "the packets are released when this is dropped"]
pub struct Hold(Opaque);
impl Hold {
    /// How many packets wait because of this hold, or behind one that does.
    pub fn held(&self) -> usize {
        unavailable()
    }
    /// How many packets could not be kept since it began, for lack of room for instance.
    pub fn lost(&self) -> u64 {
        unavailable()
    }
    /// Delivers the packets, as far as no other hold concerns them, and ends the hold.
    pub fn release(self) -> Result<(), Error> {
        Err(refused())
    }
}
impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// Code that decides on packets until this is dropped, from [`LinkDirection::intercept`](crate::LinkDirection::intercept).
#[must_use = "packets are decided on until this is dropped"]
pub struct Interception(Opaque);
impl Interception {
    /// How many packets are held.
    pub fn held(&self) -> usize {
        unavailable()
    }
    /// Lets the packets go that are held, in the order in which they came.
    pub fn release(&self) {
        unavailable()
    }
    /// Lets the first `count` of them go.
    pub fn release_first(&self, count: usize) {
        unavailable()
    }
}
impl fmt::Debug for Interception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A network interface of a node.
#[derive(Clone, Debug)]
pub struct Interface(Opaque);
impl Interface {
    /// Adds an address, without duplicate address detection: it can be used at once.
    pub fn add_address(
        &self,
        ip: impl Into<IpAddr>,
        prefix_len: u8,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Adds a macvlan on this interface: one more interface on its link, with a MAC address of its own, in this node or in
    /// another.
    pub fn add_macvlan(
        &self,
        to: &Node,
        name: &str,
        mode: MacvlanMode,
    ) -> Result<Interface, Error> {
        Err(refused())
    }
    /// Adds a route: who has an address of the prefix is on the link of this interface, without a gateway.
    pub fn add_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix_len: u8,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Adds a VLAN on this interface, `eth0.10` for number 10: what is sent by it leaves by this interface with a tag (IEEE
    /// 802.1Q), and what comes with that tag comes in by it.
    pub fn add_vlan(&self, number: u16) -> Result<Interface, Error> {
        Err(refused())
    }
    /// Its addresses.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        unavailable()
    }
    /// Has a router advertise itself and prefixes on this interface's link (RFC 4861), until the guard is dropped: at once, every
    /// second, and to whom solicits it.
    pub fn advertise(&self, advertisement: Advertisement) -> Result<Advertising, Error> {
        Err(refused())
    }
    /// Has the interface configure itself by what routers advertise (RFC 4862), and waits until it has an address.
    pub async fn autoconfigure(&self) -> Result<Ipv6Addr, Error> {
        Err(refused())
    }
    /// [`autoconfigure`](Interface::autoconfigure) for plain functions.
    pub fn blocking_autoconfigure(&self) -> Result<Ipv6Addr, Error> {
        Err(refused())
    }
    /// Captures the packets of this interface from now on.
    pub fn capture(&self) -> Result<Capture, Error> {
        Err(refused())
    }
    /// Cuts the link at this interface: what is sent on it and what comes over it vanishes. It keeps its carrier.
    #[track_caller]
    pub fn cut(&self) -> Result<Fault, Error> {
        Err(refused())
    }
    /// Cuts the way in alone: what comes over this interface vanishes.
    #[track_caller]
    pub fn cut_incoming(&self) -> Result<Fault, Error> {
        Err(refused())
    }
    /// Cuts the way out alone: what is sent on this interface vanishes.
    #[track_caller]
    pub fn cut_outgoing(&self) -> Result<Fault, Error> {
        Err(refused())
    }
    /// Deletes an interface that the test has added, with its addresses and routes.
    pub fn delete(self) -> Result<(), Error> {
        Err(refused())
    }
    /// Switches it off: the other end loses its carrier, and the routes over it are gone.
    pub fn down(&self) -> Result<(), Error> {
        Err(refused())
    }
    /// Holds what is sent on this interface and what is sent to it: packets are kept, and delivered in order when the guard ends.
    #[track_caller]
    pub fn hold(&self) -> Result<Hold, Error> {
        Err(refused())
    }
    /// The interface's index in its node. The first one beside the loopback has 100.
    pub fn index(&self) -> u32 {
        unavailable()
    }
    /// What the kernel says about it now: state, MAC address, MTU, counters.
    pub fn link(&self) -> io::Result<Link> {
        unavailable()
    }
    /// The interface's name, `eth0` for instance.
    pub fn name(&self) -> &str {
        unavailable()
    }
    /// The node that it belongs to.
    pub fn node(&self) -> &Node {
        unavailable()
    }
    /// Removes an address.
    pub fn remove_address(
        &self,
        ip: impl Into<IpAddr>,
        prefix_len: u8,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Removes the route to a prefix over this interface, whoever made it, with a gateway or without.
    pub fn remove_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix_len: u8,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Takes the interface from its link and plugs it into another node, router or switch, as a device moves to another network.
    #[track_caller]
    pub fn replug(&self, place: impl ToPlace) -> Result<LinkHandle, Error> {
        Err(refused())
    }
    /// Sets the MTU: the largest packet that leaves by this interface, in bytes. Conditions of its link on the kernel's wire reckon with it
    /// from then on.
    pub fn set_mtu(&self, bytes: u32) -> Result<(), Error> {
        Err(refused())
    }
    /// Pulls the cable: the interface is off and the other end of its link has no carrier, until the guard ends.
    #[track_caller]
    pub fn unplug(&self) -> Result<Fault, Error> {
        Err(refused())
    }
    /// Switches it on, and puts back the addresses, routes and permanent neighbours that it had when [`down`](Interface::down) was called.
    pub fn up(&self) -> Result<(), Error> {
        Err(refused())
    }
}
impl std::fmt::Display for Interface {
    /// `node/eth0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        unavailable()
    }
}
/// Why work in a node has no result: it panicked, or it was cancelled by an abort or by the end of its test.
pub struct JoinError(Opaque);
impl JoinError {
    /// The panic's payload, for [`std::panic::resume_unwind`]; `None` for cancelled work.
    pub fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        unavailable()
    }
    /// Whether the work was cancelled.
    pub fn is_cancelled(&self) -> bool {
        unavailable()
    }
    /// Whether the work panicked.
    pub fn is_panic(&self) -> bool {
        unavailable()
    }
}
impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
impl std::error::Error for JoinError {}
/// A handle to work that runs in a node; await it for the result.
pub struct JoinHandle<R>(Opaque, PhantomData<fn() -> R>);
impl<R> JoinHandle<R> {
    /// Drops the work's future at its next await, in its node. The handle then yields a cancelled [`JoinError`].
    pub fn abort(&mut self) {
        unavailable()
    }
    /// Blocks the calling thread until the work has ended.
    #[track_caller]
    pub fn blocking_join(self) -> Result<R, JoinError> {
        unavailable()
    }
    /// Whether the work has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        unavailable()
    }
}
impl<R> Future for JoinHandle<R> {
    type Output = Result<R, JoinError>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        unavailable()
    }
}
impl<R> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// Where a test leaves the secrets of its TLS connections: [`Network::key_log`](crate::Network::key_log).
#[derive(Clone, Debug)]
pub struct KeyLog(Opaque);
impl KeyLog {
    /// Appends a secret, as TLS libraries hand it to what implements their own trait or callback (rustls' `KeyLog`).
    pub fn log(
        &self,
        label: &str,
        client_random: &[u8],
        secret: &[u8],
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// The file, in which each program appends lines of its own.
    pub fn path(&self) -> &Path {
        unavailable()
    }
}
impl AsRef<OsStr> for KeyLog {
    fn as_ref(&self) -> &OsStr {
        unavailable()
    }
}
impl AsRef<Path> for KeyLog {
    fn as_ref(&self) -> &Path {
        unavailable()
    }
}
/// One direction of a link, from [`LinkHandle::from`] or [`LinkHandle::to`].
#[derive(Clone, Debug)]
pub struct LinkDirection(Opaque);
impl LinkDirection {
    /// What it does to packets now; a bare link does nothing.
    pub fn conditions(&self) -> Conditions {
        unavailable()
    }
    /// Sends a frame, from its Ethernet header on, as if it had been sent here: behind what intercepts packets, before the
    /// conditions.
    pub fn inject(&self, frame: impl Into<Vec<u8>>) -> Result<(), Error> {
        Err(refused())
    }
    /// Has code decide on every packet that is sent, before the conditions, until the guard is dropped.
    #[track_caller]
    pub fn intercept(
        &self,
        decide: impl FnMut(&Packet) -> Verdict + Send + 'static,
    ) -> Result<Interception, Error> {
        Err(refused())
    }
    /// The link that it is a direction of.
    pub fn link(&self) -> &LinkHandle {
        unavailable()
    }
    /// Changes what it does to packets, until the guard is dropped, as [`LinkHandle::set_conditions`] does for both.
    #[track_caller]
    pub fn set_conditions(
        &self,
        conditions: Conditions,
    ) -> Result<ChangedConditions, Error> {
        Err(refused())
    }
    /// What became of the packets that were sent, what kernels say on their own account included (ARP, neighbour discovery).
    pub fn tally(&self) -> Result<Tally, Error> {
        Err(refused())
    }
}
/// A link: two interfaces, or an interface and a switch, and what is between them.
#[derive(Clone)]
pub struct LinkHandle(Opaque);
impl LinkHandle {
    /// Cuts the link: what is sent over it vanishes, both ways, and what is on its way vanishes where it arrives.
    #[track_caller]
    pub fn cut(&self) -> Result<Fault, Error> {
        Err(refused())
    }
    /// Cuts one direction: what this node sends over the link vanishes.
    #[track_caller]
    pub fn cut_from(&self, node: &Node) -> Result<Fault, Error> {
        Err(refused())
    }
    /// The direction of the packets that a node sends.
    pub fn from(&self, node: &Node) -> Result<LinkDirection, Error> {
        Err(refused())
    }
    /// Holds what is sent over the link, both ways, until the guard ends: it is [`Interface::hold`], from either end.
    #[track_caller]
    pub fn hold(&self) -> Result<Hold, Error> {
        Err(refused())
    }
    /// The interfaces at its ends: two, or the one of a node that is linked to a switch.
    pub fn interfaces(&self) -> std::io::Result<Vec<Interface>> {
        unavailable()
    }
    /// Changes what both directions do to packets, until the guard is dropped.
    #[track_caller]
    pub fn set_conditions(
        &self,
        conditions: Conditions,
    ) -> Result<ChangedConditions, Error> {
        Err(refused())
    }
    /// The direction of the packets that a node receives.
    pub fn to(&self, node: &Node) -> Result<LinkDirection, Error> {
        Err(refused())
    }
    /// What does to packets what its conditions say; `None` for a bare link, which does nothing to them.
    pub fn wire(&self) -> Option<Wire> {
        unavailable()
    }
}
/// `client/eth0 – server/eth0`, or `client/eth0 – switch`.
impl fmt::Display for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
impl fmt::Debug for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// What macvlans on one interface hear of each other, from [`Interface::add_macvlan`] (ip-link(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacvlanMode {
    /// They reach each other.
    Bridge,
    /// They do not reach each other.
    Private,
    /// What they send to each other leaves by the link, and comes back if there is a switch that sends it back.
    Vepa,
}
/// A mapping of a NAT: an inner address and port, and the outer ones that they have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatMapping {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address and port of the host inside.
    pub inside: SocketAddrV4,
    /// The address and port that others see.
    pub outside: SocketAddrV4,
    /// The one peer that sees them, where the mapping depends on the peer's address.
    pub peer: Option<Ipv4Addr>,
    /// The one port of the peer that sees them, where the mapping depends on that, too.
    pub peer_port: Option<u16>,
    /// The time until it is forgotten, unless a packet comes.
    pub expires: Duration,
}
/// `udp 192.168.1.2:5000 -> 203.0.113.7:5000`, and what it depends on.
impl fmt::Display for NatMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// The network of a running test: its nodes, and what spans them.
#[derive(Clone, Debug)]
pub struct Network(Opaque);
impl Network {
    /// Adds a line to the /etc/hosts of every node: [`Node::add_host`] has the details.
    pub fn add_host(&self, name: &str, ip: impl Into<IpAddr>) -> Result<(), Error> {
        Err(refused())
    }
    /// Until the guard is dropped, panics of the test's other threads and tasks do not fail it.
    pub fn allow_panics(&self) -> AllowPanics {
        unavailable()
    }
    /// Captures the packets of all nodes from now on, those that join later excepted.
    pub fn capture(&self) -> Result<Capture, Error> {
        Err(refused())
    }
    /// The network of the test that the calling thread belongs to, told by the network namespace that it is in.
    pub fn current() -> Result<Self, Error> {
        Err(refused())
    }
    /// When the test's timeout passes; `None` before the body starts, and where there is no timeout.
    pub fn deadline(&self) -> Option<Instant> {
        unavailable()
    }
    /// Holds what two groups of nodes send to each other: packets are kept, and delivered in order when the guard ends.
    #[track_caller]
    pub fn hold(
        &self,
        group: impl IntoIterator<Item = impl AsRef<Node>>,
        other: impl IntoIterator<Item = impl AsRef<Node>>,
    ) -> Result<Hold, Error> {
        Err(refused())
    }
    /// The file in which code of the test leaves the secrets of its TLS connections: the capture of a failed test carries
    /// them, so that Wireshark and tshark show what was said.
    pub fn key_log(&self) -> Result<KeyLog, Error> {
        Err(refused())
    }
    /// The link between two nodes.
    pub fn link(&self, left: &Node, right: &Node) -> Result<LinkHandle, Error> {
        Err(refused())
    }
    /// The link that an interface is at the end of.
    pub fn link_of(&self, interface: &Interface) -> Result<LinkHandle, Error> {
        Err(refused())
    }
    /// The links, in the order of their declaration: first those between nodes, then those of nodes to switches.
    pub fn links(&self) -> Vec<LinkHandle> {
        unavailable()
    }
    /// The node of this host name; `web_server` finds `web-server`, too.
    pub fn node(&self, name: &str) -> Result<Node, Error> {
        Err(refused())
    }
    /// The nodes, in the order of their declaration, and behind them those that have joined since.
    pub fn nodes(&self) -> Vec<Node> {
        unavailable()
    }
    /// Cuts two groups of nodes off from each other: what a node of one sends to a node of the other vanishes, both ways.
    #[track_caller]
    pub fn partition(
        &self,
        group: impl IntoIterator<Item = impl AsRef<Node>>,
        other: impl IntoIterator<Item = impl AsRef<Node>>,
    ) -> Result<Fault, Error> {
        Err(refused())
    }
    /// Cuts one way off: what nodes of the first group send to nodes of the second vanishes; what they send back arrives.
    #[track_caller]
    pub fn partition_oneway(
        &self,
        from: impl IntoIterator<Item = impl AsRef<Node>>,
        to: impl IntoIterator<Item = impl AsRef<Node>>,
    ) -> Result<Fault, Error> {
        Err(refused())
    }
    /// The router of this host name.
    pub fn router(&self, name: &str) -> Result<Router, Error> {
        Err(refused())
    }
    /// The routers, in the order of their declaration.
    pub fn routers(&self) -> Vec<Router> {
        unavailable()
    }
    /// The test's path: its module and its name.
    pub fn test_name(&self) -> &str {
        unavailable()
    }
    /// Puts nodes onto one Ethernet, by VXLAN (RFC 7348) over whatever is between them: each gets an interface `vxlan7`, for number 7, in
    /// their order.
    pub fn vxlan<N: AsRef<Node>>(
        &self,
        number: u32,
        nodes: impl IntoIterator<Item = N>,
    ) -> Result<Vec<Interface>, Error> {
        Err(refused())
    }
}
/// One host of a test's network: a network stack, mounts and a host name of its own.
#[derive(Clone)]
pub struct Node(Opaque);
impl Node {
    /// Adds a line to this node's /etc/hosts: from now on the name resolves to the address here, and nowhere else.
    pub fn add_host(&self, name: &str, ip: impl Into<IpAddr>) -> Result<(), Error> {
        Err(refused())
    }
    /// Adds a route: what is sent to an address of the prefix goes to `gateway`, which is on a link of this node.
    pub fn add_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix_len: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// The addresses of all interfaces.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        unavailable()
    }
    /// A command that other code has built, to be started in this node: `assert_cmd`'s or `escargot`'s for instance.
    pub fn adopt(&self, command: std::process::Command) -> Command {
        unavailable()
    }
    /// The path of a file that is kept when the test fails: logs, dumps, captures that the node's programs write.
    pub fn artifact(&self, name: &str) -> Result<PathBuf, Error> {
        Err(refused())
    }
    /// Shows the node a file or directory of the host's at another path, which is made if it is not there.
    pub fn bind(
        &self,
        source: impl AsRef<Path>,
        path: impl AsRef<Path>,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Binds a UDP socket in this node; it works in the caller's own runtime.
    pub async fn bind_udp(
        &self,
        on: impl ToEndpoint,
    ) -> io::Result<tokio::net::UdpSocket> {
        unavailable()
    }
    /// [`bind_udp`](Node::bind_udp) for plain functions: a blocking socket of the standard library.
    pub fn blocking_bind_udp(&self, on: impl ToEndpoint) -> io::Result<UdpSocket> {
        unavailable()
    }
    /// [`connect_tcp`](Node::connect_tcp) for plain functions: a blocking stream of the standard library.
    pub fn blocking_connect_tcp(&self, to: impl ToEndpoint) -> io::Result<TcpStream> {
        unavailable()
    }
    /// [`crash`](Node::crash) for plain functions.
    #[track_caller]
    pub fn blocking_crash(&self) -> Result<Crashed, Error> {
        Err(refused())
    }
    /// [`listen_tcp`](Node::listen_tcp) for plain functions: a blocking listener of the standard library.
    pub fn blocking_listen_tcp(&self, on: impl ToEndpoint) -> io::Result<TcpListener> {
        unavailable()
    }
    /// [`run`](Node::run) for plain functions: blocks the calling thread.
    #[track_caller]
    pub fn blocking_run<F, R>(&self, work: F) -> R
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        unavailable()
    }
    /// [`wait_bound_udp`](Node::wait_bound_udp) for plain functions.
    pub fn blocking_wait_bound_udp(&self, port: u16) -> Result<(), Error> {
        Err(refused())
    }
    /// [`wait_listening`](Node::wait_listening) for plain functions.
    pub fn blocking_wait_listening(&self, port: u16) -> Result<(), Error> {
        Err(refused())
    }
    /// [`wait_until`](Node::wait_until) for plain functions.
    pub fn blocking_wait_until(
        &self,
        what: &str,
        condition: impl FnMut(&Self) -> io::Result<bool>,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Captures the packets of this node from now on, on all of its interfaces.
    pub fn capture(&self) -> Result<Capture, Error> {
        Err(refused())
    }
    /// A program that is to be started in this node: [`Command`] has the details.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        unavailable()
    }
    /// Connects from this node; the stream works in the caller's own runtime.
    pub async fn connect_tcp(
        &self,
        to: impl ToEndpoint,
    ) -> io::Result<tokio::net::TcpStream> {
        unavailable()
    }
    /// Crashes the node, as if its power had failed: first nobody hears of it any more, then all that runs in it ends.
    #[track_caller]
    pub fn crash(&self) -> impl Future<Output = Result<Crashed, Error>> + Send + use<> {
        async { unavailable() }
    }
    /// A directory for the node's own data, empty at first, to which everybody in it may write. It lies in memory, and ends with
    /// the test. Its path is the same in every node, and leads there from inside alone: the body uses [`read`](Node::read),
    /// [`write`](Node::write) and [`enter`](Node::enter).
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        Err(refused())
    }
    /// Runs `work` on the calling thread inside the node, and brings the thread back, also when `work` panics.
    #[track_caller]
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        unavailable()
    }
    /// The interface of this name, `eth0` for instance.
    pub fn interface(&self, name: &str) -> io::Result<Interface> {
        unavailable()
    }
    /// The interfaces other than the loopback, in the order of their index.
    pub fn interfaces(&self) -> io::Result<Vec<Interface>> {
        unavailable()
    }
    /// The address that the node's name resolves to first: IPv6 in a dual-stack network (RFC 6724).
    #[track_caller]
    pub fn ip(&self) -> IpAddr {
        unavailable()
    }
    /// The node's IPv4 address: `10.0.0.1` for the first node, and so on; in a graph, the first of its first interface.
    #[track_caller]
    pub fn ip4(&self) -> Ipv4Addr {
        unavailable()
    }
    /// The node's IPv6 address: `2001:db8::1` for the first node, and so on; in a graph, the first of its first interface.
    #[track_caller]
    pub fn ip6(&self) -> Ipv6Addr {
        unavailable()
    }
    /// Whether it was declared as a router.
    pub fn is_router(&self) -> bool {
        unavailable()
    }
    /// Cuts the node off from everybody: what it sends and what is sent to it vanishes. Its loopback is not concerned.
    #[track_caller]
    pub fn isolate(&self) -> Result<Fault, Error> {
        Err(refused())
    }
    /// The interfaces, the loopback included, in the order of their index.
    pub fn links(&self) -> io::Result<Vec<Link>> {
        unavailable()
    }
    /// Listens on a TCP port in this node; the listener works in the caller's own runtime.
    pub async fn listen_tcp(
        &self,
        on: impl ToEndpoint,
    ) -> io::Result<tokio::net::TcpListener> {
        unavailable()
    }
    /// The host name, which every other node resolves: the argument's name, `web_server` as `web-server`.
    pub fn name(&self) -> &str {
        unavailable()
    }
    /// The neighbours (ARP, RFC 826, and neighbour discovery, RFC 4861) that the node knows.
    pub fn neighbours(&self) -> io::Result<Vec<Neighbour>> {
        unavailable()
    }
    /// The network namespace, for code that enters namespaces by itself (setns(2) with `CLONE_NEWNET`).
    #[cfg(unix)]
    pub fn netns_fd(&self) -> BorrowedFd<'_> {
        unavailable()
    }
    /// The path of the node's network namespace, valid in every program of the test: `/run/netns/` and its name, where `ip netns
    /// exec` looks for it.
    pub fn netns_path(&self) -> Result<PathBuf, Error> {
        Err(refused())
    }
    /// The network that the node is part of.
    pub fn network(&self) -> io::Result<Network> {
        unavailable()
    }
    /// Makes `/etc` and `/run` the node's own: it sees there what the host has, and all that it changes stays in the node.
    pub fn private_files(&self) -> Result<(), Error> {
        Err(refused())
    }
    /// Reads a file as this node sees it.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        Err(refused())
    }
    /// Removes the route to a prefix by way of a gateway, whoever made it: a declared one as well.
    pub fn remove_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix_len: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// The route that a packet to `ip` would take.
    pub fn route_to(&self, ip: impl Into<IpAddr>) -> io::Result<Route> {
        unavailable()
    }
    /// The routes of all tables.
    pub fn routes(&self) -> io::Result<Vec<Route>> {
        unavailable()
    }
    /// Runs async code on the node's own thread and runtime, and waits for its result.
    #[track_caller]
    pub fn run<F, R>(&self, work: F) -> impl Future<Output = R>
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        async { unavailable() }
    }
    /// Says which name servers this node asks: its /etc/resolv.conf from now on, and nothing else in it.
    pub fn set_nameservers(&self, servers: &[IpAddr]) -> Result<(), Error> {
        Err(refused())
    }
    /// Changes a setting of the node's network.
    pub fn set_sysctl(&self, name: &str, value: impl fmt::Display) -> io::Result<()> {
        unavailable()
    }
    /// The TCP and UDP sockets of the node (sock_diag(7)), whoever holds them.
    pub fn sockets(&self) -> io::Result<Vec<Socket>> {
        unavailable()
    }
    /// Starts async code on the node's own thread and runtime.
    #[track_caller]
    pub fn spawn<F, R>(&self, work: F) -> JoinHandle<R>
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        unavailable()
    }
    /// Starts async code on one more thread of the node, with a runtime of its own: what blocks or spins there holds up
    /// nothing else.
    #[track_caller]
    pub fn spawn_runtime<F, R>(&self, name: &str, work: F) -> JoinHandle<R>
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        unavailable()
    }
    /// Starts one more thread in the node, for code that blocks.
    #[track_caller]
    pub fn spawn_thread<R: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> ThreadHandle<R> {
        unavailable()
    }
    /// Starts async code in the node, as [`spawn`](Node::spawn) does, now and again whenever the node is restarted after a
    /// [`crash`](Node::crash).
    #[track_caller]
    pub fn start<F>(&self, work: F)
    where
        F: AsyncFn() + Clone + Send + Sync + 'static,
    {
        unavailable()
    }
    /// Reads a setting of the node's network, `net.ipv4.ip_forward` for instance (sysctl(8)).
    pub fn sysctl(&self, name: &str) -> io::Result<String> {
        unavailable()
    }
    /// Gives the node an empty directory in memory at a path, which is made if it is not there. Everybody may write to it.
    pub fn tmpfs(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Err(refused())
    }
    /// Waits until something in the node has bound a UDP port, on any of its addresses.
    pub async fn wait_bound_udp(&self, port: u16) -> Result<(), Error> {
        Err(refused())
    }
    /// Waits until something in the node listens on a TCP port, on any of its addresses. No connection is made.
    pub async fn wait_listening(&self, port: u16) -> Result<(), Error> {
        Err(refused())
    }
    /// Waits until a condition on the node holds: on its links, addresses, routes, neighbours or sockets.
    pub async fn wait_until(
        &self,
        what: &str,
        condition: impl FnMut(&Self) -> io::Result<bool>,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Writes a file that only this node has; directories on the way are made.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        text: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        Err(refused())
    }
}
impl AsRef<Node> for Node {
    fn as_ref(&self) -> &Node {
        unavailable()
    }
}
impl From<Router> for Node {
    fn from(router: Router) -> Self {
        unavailable()
    }
}
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A router: a [`Node`] that passes on packets that are not its own, and knows the ways to all segments.
#[derive(Clone, Debug)]
pub struct Router(Opaque);
impl Router {
    /// What it lets through now between its uplink and its other links.
    pub fn firewall(&self) -> Firewall {
        unavailable()
    }
    /// Forgets all mappings and connections, as a router does that is switched off and on: what comes from outside is not
    /// known any more, and what goes out takes a new port, unless ports are kept.
    #[track_caller]
    pub fn flush_nat(&self) -> Result<(), Error> {
        Err(refused())
    }
    /// The mappings of its NAT that are there now, TCP before UDP, by their inner addresses.
    pub fn mappings(&self) -> Result<Vec<NatMapping>, Error> {
        Err(refused())
    }
    /// How it translates IPv4 now, if it does.
    pub fn nat(&self) -> Option<Nat> {
        unavailable()
    }
    /// The router as a node, for what takes one.
    pub fn node(&self) -> &Node {
        unavailable()
    }
    /// Has it let something else through between its uplink and its other links, until the guard is dropped.
    #[track_caller]
    pub fn set_firewall(&self, firewall: Firewall) -> Result<ChangedRouter, Error> {
        Err(refused())
    }
    /// Has it translate in another way, or with `None` not at all, until the guard is dropped.
    #[track_caller]
    pub fn set_nat(&self, nat: impl Into<Option<Nat>>) -> Result<ChangedRouter, Error> {
        Err(refused())
    }
}
impl AsRef<Node> for Router {
    fn as_ref(&self) -> &Node {
        unavailable()
    }
}
impl Deref for Router {
    type Target = Node;
    fn deref(&self) -> &Node {
        unavailable()
    }
}
impl FromNetwork for Router {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        Err(refused())
    }
}
/// A signal that a [`Child`](super::Child) can be sent, signal(7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(Opaque);
impl Signal {
    /// SIGHUP: many daemons read their configuration again.
    pub const HUP: Self = Self(Opaque);
    /// SIGINT, as from Ctrl-C.
    pub const INT: Self = Self(Opaque);
    /// SIGQUIT: for nginx, the graceful end.
    pub const QUIT: Self = Self(Opaque);
    /// SIGUSR1.
    pub const USR1: Self = Self(Opaque);
    /// SIGUSR2.
    pub const USR2: Self = Self(Opaque);
    /// SIGTERM: a request to end.
    pub const TERM: Self = Self(Opaque);
    /// SIGKILL: the end, which no program can refuse.
    pub const KILL: Self = Self(Opaque);
    /// SIGSTOP: the program stands still until [`CONT`](Self::CONT).
    pub const STOP: Self = Self(Opaque);
    /// SIGCONT.
    pub const CONT: Self = Self(Opaque);
    /// Its number.
    pub const fn as_raw(self) -> i32 {
        unavailable()
    }
    /// A signal by its number; the kernel refuses one that does not exist when it is sent.
    pub const fn from_raw(number: i32) -> Self {
        Self(Opaque)
    }
}
impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// How many packets met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that were lost by `loss`.
    pub lost: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
    /// Packets that came faster than the machine could pass them on: the only loss that was not declared.
    pub overrun: u64,
    /// Packets that `ecn = drop` or `icmp = drop` took out.
    pub filtered: u64,
    /// Packets that arrived twice.
    pub duplicated: u64,
    /// Packets that overtook others.
    pub reordered: u64,
    /// Packets in which a bit was flipped.
    pub corrupted: u64,
    /// Packets that were marked "congestion experienced" in place of being lost.
    pub marked: u64,
}
/// A handle to a thread of [`Node::spawn_thread`]. Dropping it detaches the thread.
#[derive(Debug)]
pub struct ThreadHandle<R>(Opaque, PhantomData<fn() -> R>);
impl<R> ThreadHandle<R> {
    /// Whether the thread's work has ended.
    pub fn is_finished(&self) -> bool {
        unavailable()
    }
    /// Blocks the calling thread until the thread has ended.
    pub fn join(self) -> Result<R, JoinError> {
        unavailable()
    }
}
impl<R> Future for ThreadHandle<R> {
    type Output = Result<R, JoinError>;
    fn poll(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        unavailable()
    }
}
impl Topology {
    /// Makes the network, runs code with it, and takes it down: for programs and benchmarks that are no tests.
    pub fn run<R: Send>(
        &self,
        body: impl FnOnce(&Network) -> R + Send,
    ) -> Result<R, Error> {
        Err(refused())
    }
    /// [`run`](Self::run) for async code, on a current-thread Tokio runtime of its own, as an async test has it.
    pub fn run_async<R: Send>(
        &self,
        body: impl AsyncFnOnce(&Network) -> R + Send,
    ) -> Result<R, Error> {
        Err(refused())
    }
}
/// Packets that were captured, in the order of their times: a slice of them, with questions that tests ask.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Opaque);
impl Traffic {
    /// What has these bytes anywhere. Bytes that two packets share between them are not found.
    #[must_use]
    pub fn containing(&self, bytes: impl AsRef<[u8]>) -> Self {
        unavailable()
    }
    /// The TCP connections and flows of UDP that there were: source and destination of each, in the order in which they began.
    pub fn flows(&self) -> Vec<(SocketAddr, SocketAddr)> {
        unavailable()
    }
    /// What comes from an address.
    #[must_use]
    pub fn from(&self, ip: impl Into<IpAddr>) -> Self {
        unavailable()
    }
    /// What passed the interfaces of one node.
    #[must_use]
    pub fn of(&self, node: &Node) -> Self {
        unavailable()
    }
    /// What passed one interface.
    #[must_use]
    pub fn on(&self, interface: &Interface) -> Self {
        unavailable()
    }
    /// What nodes received.
    #[must_use]
    pub fn received(&self) -> Self {
        unavailable()
    }
    /// TCP segments that were sent again: those of which an interface had sent every byte before. A SYN and a FIN count as a byte.
    #[must_use]
    pub fn retransmissions(&self) -> Self {
        unavailable()
    }
    /// What nodes sent: each packet once for every link that it went over, also where it was lost.
    #[must_use]
    pub fn sent(&self) -> Self {
        unavailable()
    }
    /// What goes to an address.
    #[must_use]
    pub fn to(&self, ip: impl Into<IpAddr>) -> Self {
        unavailable()
    }
}
/// A line each.
impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
impl<'a> IntoIterator for &'a Traffic {
    type Item = &'a Captured;
    type IntoIter = std::slice::Iter<'a, Captured>;
    fn into_iter(self) -> Self::IntoIter {
        unavailable()
    }
}
impl Deref for Traffic {
    type Target = [Captured];
    fn deref(&self) -> &[Captured] {
        unavailable()
    }
}
impl IntoIterator for Traffic {
    type Item = Captured;
    type IntoIter = std::vec::IntoIter<Captured>;
    fn into_iter(self) -> Self::IntoIter {
        unavailable()
    }
}
/// What is to happen to a packet, from the code given to [`LinkDirection::intercept`](crate::LinkDirection::intercept).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is gone.
    Drop,
    /// It is kept until [`Interception::release`].
    Hold,
    /// This frame goes on in its place, with checksums that are made right.
    Replace(Vec<u8>),
}
/// Prepares the process for networks: as an ordinary user, it enters a user namespace of its own, with that one user mapped.
pub fn init() -> Result<(), Error> {
    Err(refused())
}
