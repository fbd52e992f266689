//! Which nodes are asked, in which order, and when another one is asked as well.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use durum_core::{Error, ErrorKind, Result};
use hyper::HeaderMap;
use hyper::body::Incoming;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::answer::{ERROR_MAX, collect};
use crate::connect::Lease;
use crate::fault::{Attempt, Fault, verdict};
use crate::node::Node;
use crate::request::Signed;

/// Bodies are expected to take no longer than at so many bytes a second before another node is tried.
const SLOW_BYTES_PER_SECOND: u64 = 4 << 20;
/// Between two rounds over all nodes.
const ROUND_PAUSE_MIN: Duration = Duration::from_millis(20);
const ROUND_PAUSE_MAX: Duration = Duration::from_millis(500);

/// How patient a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A node that has not answered by then is not waited for alone: a second one is asked the same.
    pub hedge_after: Duration,
    /// When no node answers, all are tried again until this time is over.
    pub keep_trying: Duration,
    /// No request takes longer.
    pub request_time_max: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            hedge_after: Duration::from_millis(150),
            keep_trying: Duration::from_secs(2),
            request_time_max: Duration::from_secs(20),
        }
    }
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Whole(Bytes),
    Stream(Incoming, Lease),
}

impl Answer {
    pub(crate) fn whole(&self) -> &[u8] {
        match &self.body {
            Body::Whole(bytes) => bytes,
            Body::Stream(..) => &[],
        }
    }
}

/// Chooses among nodes.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    turn: AtomicUsize,
}

type Done = (usize, Result<Answer, Fault>);

impl Routing {
    /// All nodes in the order in which they are to be asked: each time another one is first, and those that are
    /// avoided are last.
    ///
    /// What must not be done twice goes to the node with the least name, by all clients.
    fn order(&self, nodes: &[Arc<Node>], alone: bool) -> Vec<Arc<Node>> {
        let now = Instant::now();
        if alone {
            let mut order = nodes.to_vec();
            order.sort_by(|one, other| one.name.cmp(&other.name));
            order.sort_by_key(|node| node.avoided_until(now).is_some());
            return order;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
        let (front, back) = nodes.split_at(turn.min(nodes.len()));
        let mut order: Vec<_> = back.iter().chain(front).cloned().collect();
        order.sort_by_key(|node| node.avoided_until(now));
        order
    }

    /// Has some node answer.
    pub(crate) async fn perform(
        &self,
        nodes: &[Arc<Node>],
        ask: Signed,
        patience: Patience,
    ) -> Result<Answer> {
        let ask = Arc::new(ask);
        let begun = Instant::now();
        let limit = patience.request_time_max + ask.waits.unwrap_or_default();
        let deadline = begun + limit;
        let mut pause = ROUND_PAUSE_MIN;
        // What each node has said last.
        let mut faults: HashMap<String, Fault> = HashMap::new();
        loop {
            let round = Round {
                order: self.order(nodes, ask.alone),
                ask: ask.clone(),
                hedge_after: hedge_after(&ask, patience.hedge_after),
                deadline,
                limit,
            };
            let attempts = match round.run().await {
                Ok(answer) => return Ok(answer),
                Err(attempts) => attempts,
            };
            let maybe_done = ask.alone && attempts.iter().any(|it| !it.fault.left_all_as_it_was());
            let passing = attempts.iter().any(|it| it.fault.is_passing())
                && !attempts.iter().any(|it| it.fault.is_final())
                && !maybe_done;
            faults.extend(attempts.into_iter().map(|it| (it.node, it.fault)));
            let again = Instant::now() + pause;
            if !passing || again > deadline || again > begun + patience.keep_trying {
                let mut attempts: Vec<Attempt> = faults
                    .into_iter()
                    .map(|(node, fault)| Attempt { node, fault })
                    .collect();
                attempts.sort_by(|one, other| one.node.cmp(&other.node));
                return Err(verdict(ask.doing, &attempts));
            }
            sleep(pause).await;
            pause = (pause * 2).min(ROUND_PAUSE_MAX);
        }
    }
}

/// When a second node is asked. Never, where the server is asked to wait, or it must not be done twice.
fn hedge_after(ask: &Signed, least: Duration) -> Option<Duration> {
    if ask.waits.is_some() || ask.alone {
        return None;
    }
    let body = ask.body_len as u64 * 1000 / SLOW_BYTES_PER_SECOND;
    Some(least + Duration::from_millis(body))
}

/// Every node is asked once at most.
struct Round {
    order: Vec<Arc<Node>>,
    ask: Arc<Signed>,
    hedge_after: Option<Duration>,
    deadline: Instant,
    limit: Duration,
}

impl Round {
    async fn run(self) -> Result<Answer, Vec<Attempt>> {
        let mut running: JoinSet<Done> = JoinSet::new();
        // When each of those that run was asked.
        let mut asked: HashMap<usize, Instant> = HashMap::new();
        let mut attempts = Vec::new();
        let mut next = 0;
        loop {
            if running.is_empty() && !self.start(&mut next, &mut running, &mut asked) {
                return Err(attempts);
            }
            let newest = asked.values().max().copied();
            let hedge = match (self.hedge_after, newest) {
                (Some(after), Some(newest)) if next < self.order.len() => newest + after,
                _ => self.deadline,
            };
            tokio::select! {
                Some(done) = running.join_next() => {
                    // A task that panicked or was ended has nothing to say; there is none.
                    let Ok((index, done)) = done else { continue };
                    asked.remove(&index);
                    let Some(node) = self.order.get(index) else { continue };
                    match done {
                        Ok(answer) => {
                            node.worked();
                            return Ok(answer);
                        }
                        Err(fault) => {
                            match fault.is_final() {
                                true => node.worked(),
                                false => node.failed(Instant::now()),
                            }
                            let maybe_done = self.ask.alone && !fault.left_all_as_it_was();
                            let last = fault.is_final() || maybe_done;
                            attempts.push(Attempt { node: node.name.clone(), fault });
                            if last {
                                return Err(attempts);
                            }
                            self.start(&mut next, &mut running, &mut asked);
                        }
                    }
                }
                () = sleep_until(hedge.min(self.deadline)) => {
                    if Instant::now() >= self.deadline {
                        attempts.extend(self.late(&asked));
                        return Err(attempts);
                    }
                    self.blame_the_slow(&asked);
                    self.start(&mut next, &mut running, &mut asked);
                }
            }
        }
    }

    /// Asks the next node, if there is one.
    fn start(
        &self,
        next: &mut usize,
        running: &mut JoinSet<Done>,
        asked: &mut HashMap<usize, Instant>,
    ) -> bool {
        let index = *next;
        let Some(node) = self.order.get(index) else {
            return false;
        };
        *next += 1;
        let now = Instant::now();
        node.asked(now);
        asked.insert(index, now);
        let (node, ask) = (node.clone(), self.ask.clone());
        running.spawn(async move { (index, attempt(&node, &ask).await) });
        true
    }

    /// Those that take longer than is usual are asked later by others, unless they still answer.
    fn blame_the_slow(&self, asked: &HashMap<usize, Instant>) {
        let now = Instant::now();
        for (index, since) in asked {
            let slow = self
                .hedge_after
                .is_some_and(|after| now.duration_since(*since) >= after);
            if let Some(node) = self.order.get(*index).filter(|_| slow) {
                node.failed(now);
            }
        }
    }

    fn late(&self, asked: &HashMap<usize, Instant>) -> Vec<Attempt> {
        let nodes = asked.keys().filter_map(|index| self.order.get(*index));
        nodes
            .map(|node| {
                node.failed(Instant::now());
                Attempt {
                    node: node.name.clone(),
                    fault: Fault::Late(self.limit),
                }
            })
            .collect()
    }
}

/// Asks one node.
async fn attempt(node: &Node, ask: &Signed) -> Result<Answer, Fault> {
    let target = node.target(ask.service);
    let (response, lease) = target.send(&ask.request).await?;
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    if !(head.status.is_success() || status == 304) {
        let message = match timeout(ERROR_TIME_MAX, collect(body, ERROR_MAX)).await {
            Ok(Ok(message)) => {
                lease.give_back();
                message
            }
            _ => Bytes::new(),
        };
        return Err(Fault::of_answer(status, &message));
    }
    let body = match ask.limit {
        None => Body::Stream(body, lease),
        Some(limit) => {
            let whole = collect(body, limit).await?;
            lease.give_back();
            Body::Whole(whole)
        }
    };
    Ok(Answer {
        status,
        headers: head.headers,
        body,
    })
}

/// A status counts also where its explanation does not come.
const ERROR_TIME_MAX: Duration = Duration::from_secs(2);

/// The error of an answer that has not the form that it has to have.
pub(crate) fn malformed(doing: &'static str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Damaged, doing).because(format!("a node's answer is malformed: {why}"))
}
