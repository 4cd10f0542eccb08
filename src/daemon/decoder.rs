//! Has contents decoded, in threads of their own.
//!
//! # Bounds
//!
//! A content usually takes a few milliseconds, but whoever writes a node decides, up to
//! [`DEADLINE`](crate::decode::ask::DEADLINE). So one content of a watch is decoded at a time, and meanwhile
//! only its newest one waits. Few children work at once, since more would only compete for the processors.
//! One that takes long does not count among them any more, unless [`MAX_SLOW`] others take long too; and the
//! next content of its watch does not count among them from the start. So a watch whose contents are hostile
//! holds up itself, and others for [`SLOW`], once.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::watches::WatchId;
use super::workers::Workers;
use crate::decode::ask::{Answer, Question, decode};
use crate::model::{Blob, Format, Schema, WatchSpec};
use crate::report::Reporter;
use crate::watch::{DecodingId, Verdict};

/// A decoding that takes longer no longer counts among those that work.
const SLOW: Duration = Duration::from_millis(100);

/// How many decodings that take long do not count among those that work. Each takes a thread and a child.
const MAX_SLOW: usize = 16;

/// How many watches whose contents take long are known.
const MAX_SLOW_WATCHES: usize = 1024;

/// How long a decoding waits after the first time that its child could not be started. It doubles.
const MIN_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The part of the daemon that is degraded when children cannot be started.
const DECODER: &str = "decoder";

/// A content to decode.
struct Job {
    watch: WatchId,
    decoding: DecodingId,
    format: Format,
    name: String,
    schema: Option<Arc<Schema>>,
    content: Blob,
}

/// A verdict on a content, for the core.
pub struct Decoded {
    pub watch: WatchId,
    pub decoding: DecodingId,
    pub verdict: Verdict,
}

pub struct Decoder {
    shared: Rc<Shared>,
    verdicts: UnboundedReceiver<Decoded>,
}

struct Shared {
    log: Reporter,
    program: PathBuf,
    workers: Workers,
    working: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    /// The watches of which a content is being decoded, each with the next one, if there is one.
    busy: RefCell<HashMap<WatchId, Option<Arc<Job>>>>,
    /// The watches whose last content took long.
    slow_watches: RefCell<HashSet<WatchId>>,
    verdicts: UnboundedSender<Decoded>,
}

impl Decoder {
    /// `program` is a Twitcher.
    pub fn new(log: Reporter, program: PathBuf) -> Self {
        let (sender, verdicts) = unbounded_channel();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            log,
            program,
            workers: Workers::default(),
            working: Arc::new(Semaphore::new(2 * processors)),
            slow: Arc::new(Semaphore::new(MAX_SLOW)),
            busy: RefCell::default(),
            slow_watches: RefCell::default(),
            verdicts: sender,
        };
        Self { shared: Rc::new(shared), verdicts }
    }

    /// Has a content of this watch decoded. Its verdict follows, unless the watch has another content decoded
    /// before.
    pub fn decode(&self, watch: WatchId, decoding: DecodingId, content: &Blob, spec: &WatchSpec) {
        let Some(format) = spec.policy.decode else { return };
        let name = spec.subject.path.components().last().unwrap_or_default().to_owned();
        let (schema, content) = (spec.schema.clone(), content.clone());
        let job = Arc::new(Job { watch, decoding, format, name, schema, content });
        if let Some(next) = self.shared.busy.borrow_mut().get_mut(&watch) {
            *next = Some(job);
            return;
        }
        self.shared.busy.borrow_mut().insert(watch, None);
        spawn_local(Rc::clone(&self.shared).work(job));
    }

    /// The next verdict. Can be dropped at any time.
    pub async fn next(&mut self) -> Option<Decoded> {
        self.verdicts.recv().await
    }
}

impl Shared {
    /// Decodes a content, and then the next one of the same watch as long as there is one.
    async fn work(self: Rc<Self>, first: Arc<Job>) {
        let mut next = Some(first);
        while let Some(job) = next {
            if let Some(verdict) = self.verdict(&job).await {
                let (watch, decoding) = (job.watch, job.decoding);
                // The daemon may have stopped by now.
                let _ = self.verdicts.send(Decoded { watch, decoding, verdict });
            }
            next = self.take_next(job.watch);
        }
    }

    fn take_next(&self, watch: WatchId) -> Option<Arc<Job>> {
        let mut busy = self.busy.borrow_mut();
        let next = busy.get_mut(&watch).and_then(Option::take);
        if next.is_none() {
            busy.remove(&watch);
        }
        next
    }

    fn is_outdated(&self, job: &Job) -> bool {
        self.busy.borrow().get(&job.watch).is_some_and(Option::is_some)
    }

    /// Returns none if the watch has a newer content by the time that this one can be decoded.
    async fn verdict(&self, job: &Arc<Job>) -> Option<Verdict> {
        let mut backoff = MIN_BACKOFF;
        loop {
            let answer = self.answer(job).await?;
            let why = match answer {
                Answer::NotStarted(error) => error,
                Answer::Conforms(decoded) => return Some(self.judged(Verdict::Conforms(decoded))),
                Answer::Faulty(why) => return Some(self.judged(Verdict::Faulty(why.into()))),
                Answer::Undecided(why) => return Some(self.judged(Verdict::Undecided(why.into()))),
            };
            let retry = backoff.as_secs_f64();
            self.log.degraded(DECODER, format!("cannot start the process for it: {why}; retry in {retry} s"));
            sleep(backoff).await;
            backoff = (2 * backoff).min(MAX_BACKOFF);
        }
    }

    fn judged(&self, verdict: Verdict) -> Verdict {
        self.log.recovered(DECODER);
        verdict
    }

    async fn answer(&self, job: &Arc<Job>) -> Option<Answer> {
        let is_slow = self.slow_watches.borrow().contains(&job.watch);
        let places = if is_slow { &self.slow } else { &self.working };
        let mut place = Arc::clone(places).acquire_owned().await.ok();
        if self.is_outdated(job) {
            return None;
        }
        let (program, asked) = (self.program.clone(), Arc::clone(job));
        let work = move || {
            let Job { format, name, schema, content, .. } = &*asked;
            decode(&program, &Question { format: *format, name, schema: schema.as_deref(), content })
        };
        let mut answer = match self.workers.run(work) {
            Ok(answer) => answer,
            Err(error) => return Some(Answer::NotStarted(error)),
        };
        let answered = match timeout(SLOW, &mut answer).await {
            Ok(answered) => {
                self.slow_watches.borrow_mut().remove(&job.watch);
                answered
            }
            Err(_) => {
                self.note_slow(job.watch);
                self.give_place(&mut place);
                answer.await
            }
        };
        Some(answered.unwrap_or_else(|_| Answer::Undecided("was not decoded: its thread has died".into())))
    }

    fn note_slow(&self, watch: WatchId) {
        let mut slow_watches = self.slow_watches.borrow_mut();
        // Among them may be watches that are gone. Of the others, each is slow once more.
        if slow_watches.len() >= MAX_SLOW_WATCHES {
            slow_watches.clear();
        }
        slow_watches.insert(watch);
    }

    /// Leaves the place of a decoding that takes long to others, unless too many take long.
    fn give_place(&self, place: &mut Option<OwnedSemaphorePermit>) {
        if let Ok(slow) = Arc::clone(&self.slow).try_acquire_owned() {
            *place = Some(slow);
        }
    }
}
