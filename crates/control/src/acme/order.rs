//! One certificate: an account, an order, a proof, a certificate (RFC 8555 section 7).

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use config::spec::{Acme, Challenge};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use net::tls::Identity;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::storage::{Answer, Storage};
use super::web::{Reach, Web};
use crate::files;

/// Why there is no certificate.
#[derive(Debug)]
pub(super) enum Failure {
    /// The authority cannot be asked.
    Unreachable(String),
    /// The authority says no.
    Refused(String),
    /// It was asked too often.
    TooOften(String),
    /// What it has given cannot be kept, or is no use.
    Ours(String),
}

impl Failure {
    /// The same, with what was tried.
    fn by(self, how: &str) -> Failure {
        match self {
            Failure::Refused(why) => Failure::Refused(format!("by {how}: {why}")),
            other => other,
        }
    }

    pub(super) fn why(&self) -> &str {
        match self {
            Failure::Unreachable(why) | Failure::Refused(why) | Failure::TooOften(why) | Failure::Ours(why) => why,
        }
    }
}

/// How long nodes that share the storage have to take notice of an answer before the authority asks for it.
const NOTICED: Duration = Duration::from_secs(2);
/// How long an authority may take for a proof, and for a certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));
/// How long the account may take.
const ACCOUNT: Duration = Duration::from_secs(60);

/// Gets a certificate for a domain, and keeps it. The caller holds the domain's lock. `answered` is called when there is an answer
/// that the workers should know.
pub(super) async fn obtain(
    acme: &Acme,
    domain: &str,
    challenge: Challenge,
    storage: &Storage,
    reach: &Reach,
    answered: impl Fn(),
) -> Result<(), Failure> {
    let account = account(acme, storage, reach).await?;
    let identifiers = [Identifier::Dns(domain.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let proved = prove(&mut order, domain, challenge, storage, &answered).await;
    storage.forget(domain);
    answered();
    proved?;
    let key = KeyPair::generate().map_err(ours)?;
    let mut params = CertificateParams::new([domain.to_owned()]).map_err(ours)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(ours)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    let whole =
        format!("{}{}{chain}", key.serialize_pem(), if key.serialize_pem().ends_with('\n') { "" } else { "\n" });
    Identity::from_pem(chain.as_bytes(), whole.as_bytes())
        .map_err(|bad| Failure::Refused(format!("the certificate that was sent is none for our key: {bad}")))?;
    keep(&storage.certificate(domain), whole.as_bytes())
}

/// The account that there is, or a new one.
async fn account(acme: &Acme, storage: &Storage, reach: &Reach) -> Result<Account, Failure> {
    let file = storage.account();
    let began = SystemTime::now();
    let _lock = loop {
        if let Ok(known) = fs::read(&file) {
            let known: AccountCredentials = serde_json::from_slice(&known)
                .map_err(|error| Failure::Ours(format!("no usable account: {error}: {}", file.display())))?;
            let builder = Account::builder_with_http(Box::new(Web::new(reach.clone())));
            return Ok(builder.from_credentials(known).await?);
        }
        // Of all domains, and of all nodes, one makes the account.
        match storage.lock("account", ACCOUNT, SystemTime::now()) {
            Ok(Some(lock)) => break lock,
            Ok(None) if began.elapsed().is_ok_and(|waited| waited < ACCOUNT) => {}
            Ok(None) => return Err(Failure::Ours("another one takes too long to make an account".to_owned())),
            Err(error) => return Err(Failure::Ours(format!("cannot lock: {error}: {}", file.display()))),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let contact: Vec<String> = acme.email.iter().map(|address| format!("mailto:{address}")).collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = match &acme.eab {
        None => None,
        Some((id, key)) => {
            let key = base64url(&key.0).ok_or_else(|| Failure::Ours("`key` of `eab` is no base64url".to_owned()))?;
            Some(ExternalAccountKey::new(id.clone(), &key))
        }
    };
    let builder = Account::builder_with_http(Box::new(Web::new(reach.clone())));
    let (account, made) = builder.create(&wanted, acme.directory.clone(), binding.as_ref()).await?;
    let made = serde_json::to_vec(&made).map_err(|error| Failure::Ours(error.to_string()))?;
    keep(&file, &made)?;
    observe::log::info(format_args!(
        "an account at {}, whose terms of service are accepted by that: {}",
        acme.directory,
        file.display()
    ));
    Ok(account)
}

/// Proves that the domain is ours.
async fn prove(
    order: &mut Order,
    domain: &str,
    wanted: Challenge,
    storage: &Storage,
    answered: &impl Fn(),
) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            // The authority may remember a former proof.
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => return Err(Failure::Refused(format!("the authorization is {other:?}").to_lowercase())),
        }
        let kind = match wanted {
            Challenge::Http01 => ChallengeType::Http01,
            Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let Some(mut challenge) = authorization.challenge(kind) else {
            return Err(Failure::Refused(format!("the authority does not offer {}", word(wanted))));
        };
        let proof = challenge.key_authorization();
        let answer = Answer {
            domain: domain.to_owned(),
            token: challenge.token.clone(),
            challenge: wanted,
            authorization: proof.as_str().to_owned(),
            digest: proof.digest().as_ref().to_vec(),
        };
        let kept = storage.answer(&answer, SystemTime::now());
        kept.map_err(|error| Failure::Ours(format!("cannot keep an answer: {error}")))?;
        answered();
        tokio::time::sleep(NOTICED).await;
        let began = challenge.set_ready().await;
        began.map_err(|error| Failure::from(error).by(word(wanted)))?;
    }
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(Failure::Refused(why_not(order, None).await).by(word(wanted))),
        Err(Error::Api(problem)) => Err(Failure::Refused(why_not(order, Some(problem)).await).by(word(wanted))),
        Err(error) => Err(error.into()),
    }
}

/// What the authority has to say of the proof that did not convince it.
async fn why_not(order: &mut Order, problem: Option<Problem>) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { break };
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return words(problem);
        }
    }
    problem.map_or_else(|| "the order is invalid".to_owned(), |problem| words(&problem))
}

fn words(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default().trim_start_matches(KINDS);
    format!("{} ({kind})", problem.detail.as_deref().unwrap_or("no detail"))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Api(problem) if problem.r#type.as_deref().is_some_and(|kind| kind.ends_with(":rateLimited")) => {
                Failure::TooOften(words(&problem))
            }
            Error::Api(problem) => Failure::Refused(words(&problem)),
            Error::Other(error) => Failure::Unreachable(error.to_string()),
            other => Failure::Refused(other.to_string()),
        }
    }
}

fn ours(error: rcgen::Error) -> Failure {
    Failure::Ours(format!("cannot make a request for a certificate: {error}"))
}

fn keep(file: &Path, content: &[u8]) -> Result<(), Failure> {
    files::replace(file, content)
        .map_err(|error| Failure::Ours(format!("cannot write the file: {error}: {}", file.display())))
}

fn word(challenge: Challenge) -> &'static str {
    match challenge {
        Challenge::Http01 => "http-01",
        Challenge::TlsAlpn01 => "tls-alpn-01",
    }
}

/// RFC 4648 section 5, with or without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// What the types of ACME's problems begin with.
const KINDS: &str = "urn:ietf:params:acme:error:";

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn keys_are_read_from_base64url() {
        assert_eq!(base64url("").as_deref(), Some(&b""[..]));
        assert_eq!(base64url("Zm9vYmE=").as_deref(), Some(&b"fooba"[..]));
        assert_eq!(base64url("Zm9vYmFy").as_deref(), Some(&b"foobar"[..]));
        assert_eq!(base64url("-_8").as_deref(), Some(&[0xfb, 0xff][..]));
        assert_eq!(base64url("a+b"), None);
    }
}
