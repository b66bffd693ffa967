//! Listeners that this process serves as a proxy, because the kernel cannot rewrite their packets (`engine: auto`): their
//! addresses of TCP as a listener with `role: tcp`, those of UDP as one with `role: udp`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use config::Mistake;
use config::spec::{Bind, BindAddress, Listener, Role, Serves, Spec, Timeouts, Transport};
use kernel::Refusal;

use super::is_auto;

/// Whether this process can serve a listener that the kernel has refused, and then why it does. It must not where the kernel
/// serves already, be it for another process: that one's packets would not come here.
///
/// # Errors
/// It cannot, or must not: what is missing.
pub(super) fn judge(listener: &Listener, refusal: &Refusal, is_serving: bool) -> Result<String, Mistake> {
    let name = &listener.name;
    let is_anothers = matches!(refusal, Refusal::Claimed { .. });
    if !is_auto(listener) || is_serving || is_anothers {
        let instead = if is_auto(listener) && is_serving { ", and a proxy takes over at a start alone" } else { "" };
        let message = format!("packets of listener `{name}` cannot be rewritten inside the kernel{instead}: {refusal}");
        return Err(Mistake::new(listener.span.clone(), message));
    }
    for bind in &listener.binds {
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
    let mut listeners = Vec::new();
    for listener in &spec.listeners {
        if stand_ins.contains_key(&listener.name) {
            listeners.extend([Transport::Tcp, Transport::Udp].into_iter().filter_map(|of| proxy(spec, listener, of)));
        } else {
            listeners.push(listener.clone());
        }
    }
    Cow::Owned(Spec { listeners, ..spec.clone() })
}

/// The proxy that stands in for the kernel at the addresses of one transport, if there are any: to the same pool, and as silent as
/// flows may be.
fn proxy(spec: &Spec, listener: &Listener, transport: Transport) -> Option<Listener> {
    let binds: Vec<Bind> = listener.binds.iter().filter(|bind| bind.transport == transport).cloned().collect();
    if binds.is_empty() {
        return None;
    }
    let of_pool = listener.packets_to().and_then(|pool| spec.pool(pool).timeouts.flow);
    let silent = of_pool.or(listener.timeouts.flow).unwrap_or(transport.idle());
    let (role, timeouts) = match transport {
        Transport::Tcp => (Role::Tcp, Timeouts { tunnel: Some(silent), ..Timeouts::default() }),
        Transport::Udp => (Role::Udp, Timeouts { flow: Some(silent), ..Timeouts::default() }),
    };
    let is_half = binds.len() < listener.binds.len();
    let mut proxy = Listener { role, binds, ..listener.clone() };
    if is_half && transport == Transport::Udp {
        // No listener of the configuration has such a name.
        proxy.name = format!("{}/udp", listener.name);
    }
    if let Serves::Routes(routes) = &mut proxy.serves {
        for route in routes {
            route.timeouts = timeouts;
        }
    }
    Some(proxy)
}

/// What an address lacks for its packets to reach this process: the command that gives it.
fn undelivered(listener: &Listener, bind: &Bind) -> Option<String> {
    let BindAddress::Ip(address) = &bind.address else { return None };
    let ip = address.ip();
    if net::listen::is_delivered(ip).unwrap_or(false) {
        return None;
    }
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let interface = listener.nat.as_ref().and_then(|nat| nat.interfaces.first()).map_or("lo", String::as_str);
    Some(format!(
        "no interface has its address and no route of type `local` leads to it, run `ip address add {ip}/{bits} dev {interface}` or `ip \
         route add local {ip}/{bits} dev lo`"
    ))
}
