//! Batches, made ahead on a thread of their own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::{Batch, Collator, Dataset, Prepared};
use crate::{Error, Result};

/// Batches that wait to be used; one more is being made.
const AHEAD: usize = 2;

/// A batch and the examples in it.
type Item = Result<(Batch, Vec<Prepared>)>;

/// Batches in the order of `plan`, made ahead on another thread.
///
/// An error comes in its batch's place, and ends the iteration. Dropping the loader ends the thread.
pub struct Loader {
    /// `None` once the iteration is over.
    batches: Option<Receiver<Item>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// `plan` lists the examples of each batch.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        collator: Arc<Collator>,
        plan: Vec<Vec<usize>>,
        epoch: u64,
    ) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        let work = move || {
            for indices in plan {
                let item = make(&*dataset, &collator, &indices, epoch);
                let over = item.is_err();
                // The receiver is gone when the loader is dropped.
                if send(&sender, item).is_none() || over {
                    return;
                }
            }
        };
        match std::thread::Builder::new().name("loader".into()).spawn(work) {
            Ok(thread) => Self { batches: Some(receiver), thread: Some(thread) },
            Err(error) => {
                // Nobody sends now: the error is the only item.
                let (sender, receiver) = sync_channel(1);
                send(&sender, Err(Error::failed("loader", format!("no thread: {error}"))));
                Self { batches: Some(receiver), thread: None }
            }
        }
    }
}

fn send(sender: &SyncSender<Item>, item: Item) -> Option<()> {
    sender.send(item).ok()
}

fn make(dataset: &dyn Dataset, collator: &Collator, indices: &[usize], epoch: u64) -> Item {
    let prepare = |&i: &usize| collator.prepare(&dataset.get(i)?);
    let prepared = indices.iter().map(prepare).collect::<Result<Vec<_>>>()?;
    Ok((collator.batch(&prepared, epoch), prepared))
}

impl Iterator for Loader {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if let Ok(item) = self.batches.as_ref()?.recv() {
            return Some(item);
        }
        // The thread is done. A panic in it must not pass for the end of the data.
        self.batches = None;
        match self.thread.take()?.join() {
            Ok(()) => None,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let cause = format!("stopped unexpectedly: {}", text.unwrap_or("no reason given"));
                Some(Err(Error::failed("loader", cause)))
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, and it ends.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic has nobody left to be told to.
            let _ = thread.join();
        }
    }
}
