//! Listeners that this process serves as a proxy, because the kernel cannot rewrite their packets (`engine: auto`).
//!
//! Addresses of TCP become a listener with `role: tcp`. Datagrams have no proxy here yet: [`judge`] is the one place that
//! says so, and [`stand_in`] the one that would make a listener for them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use config::Mistake;
use config::spec::{Bind, BindAddress, Listener, Role, Serves, Spec, Timeouts, Transport};
use kernel::Refusal;

use super::is_auto;

/// Whether this process can serve a listener that the kernel has refused, and then why it does.
///
/// # Errors
/// It cannot, or must not: what is missing.
pub(super) fn judge(listener: &Listener, refusal: &Refusal) -> Result<String, Mistake> {
    let name = &listener.name;
    if !is_auto(listener) {
        let message = format!("packets of listener `{name}` cannot be rewritten inside the kernel: {refusal}");
        return Err(Mistake::new(listener.span.clone(), message));
    }
    for bind in &listener.binds {
        if bind.transport == Transport::Udp {
            let message = format!(
                "packets of listener `{name}` cannot be rewritten inside the kernel, and datagrams have no proxy to stand in for it: {refusal}"
            );
            return Err(Mistake::new(bind.span.clone(), message));
        }
        if let Some(missing) = undelivered(listener, bind) {
            let message = format!(
                "packets of listener `{name}` cannot be rewritten inside the kernel ({refusal}), and a proxy would get none of them: {missing}"
            );
            return Err(Mistake::new(bind.span.clone(), message));
        }
    }
    Ok(refusal.to_string())
}

/// The configuration that workers run by: these listeners are proxies in it.
pub fn in_force<'s>(spec: &'s Spec, stand_ins: &BTreeMap<String, String>) -> Cow<'s, Spec> {
    if stand_ins.is_empty() {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    for number in 0..spec.listeners.len() {
        if stand_ins.contains_key(&spec.listeners[number].name) {
            spec.listeners[number] = stand_in(&spec, &spec.listeners[number]);
        }
    }
    Cow::Owned(spec)
}

/// A listener as the proxy that stands in for the kernel: the same addresses, the same pool, as silent as flows may be.
fn stand_in(spec: &Spec, listener: &Listener) -> Listener {
    let of_pool = listener.packets_to().and_then(|pool| spec.pool(pool).timeouts.flow);
    let silent = of_pool.or(listener.timeouts.flow).unwrap_or(Transport::Tcp.idle());
    let mut proxy = Listener { role: Role::Tcp, ..listener.clone() };
    if let Serves::Routes(routes) = &mut proxy.serves {
        for route in routes {
            route.timeouts = Timeouts { tunnel: Some(silent), ..Timeouts::default() };
        }
    }
    proxy
}

/// What an address lacks for its packets to reach this process: the command that gives it.
fn undelivered(listener: &Listener, bind: &Bind) -> Option<String> {
    let BindAddress::Ip(address) = &bind.address else { return None };
    let ip = address.ip();
    if net::listen::is_delivered(ip) {
        return None;
    }
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let interface = listener.nat.as_ref().and_then(|nat| nat.interfaces.first()).map_or("lo", String::as_str);
    Some(format!(
        "no interface has its address and no route of type `local` leads to it, run `ip address add {ip}/{bits} dev {interface}` or `ip \
         route add local {ip}/{bits} dev lo`"
    ))
}
