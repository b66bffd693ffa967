//! Questions to name servers, several at a time: one that nobody answers must not hold up the others.

use std::future::Future;
use std::io;
use std::time::Duration;

use net::dns::{Answer, Resolver};
use tokio::task::JoinSet;

/// What became of each question.
pub(super) type Answers<T> = Vec<(String, Result<Answer<T>, String>)>;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many questions are under way at a time.
const AT_ONCE: usize = 64;

/// Asks for each of these names.
pub(super) async fn all<T: 'static, F>(
    names: Vec<String>,
    resolver: &Result<Resolver, String>,
    ask: impl Fn(Resolver, String) -> F + Copy + 'static,
) -> Answers<T>
where
    F: Future<Output = io::Result<Answer<T>>> + 'static,
{
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(error) => return names.into_iter().map(|name| (name, Err(error.clone()))).collect(),
    };
    let mut answers = Vec::new();
    for some in names.chunks(AT_ONCE) {
        let mut under_way = JoinSet::new();
        for name in some {
            let (resolver, name) = (resolver.clone(), name.clone());
            under_way.spawn_local(async move {
                let late = resolver.late();
                let answer = tokio::time::timeout(PATIENCE, ask(resolver, name.clone())).await;
                (name, answer.unwrap_or(Err(late)).map_err(|error| error.to_string()))
            });
        }
        while let Some(answered) = under_way.join_next().await {
            answers.extend(answered.ok());
        }
    }
    answers.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    answers
}
