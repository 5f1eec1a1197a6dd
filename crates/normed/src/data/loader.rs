//! The loader: prepares batches ahead of their use, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::panics::message;
use super::{Batch, Collator, Dataset, PreparedExample};
use crate::{Error, ErrorKind, Result};

/// How many prepared batches wait to be used; one more is being prepared.
const PREFETCHED: usize = 2;

/// The largest number of batches whose pixels are in memory: one in use, two waiting, and one being assembled,
/// which counts twice because its examples still hold their own pixels.
pub const MAX_BATCHES_IN_MEMORY: usize = 1 + PREFETCHED + 2;

/// A batch and its examples, without the examples' own pixels.
type Item = Result<(Batch, Vec<PreparedExample>)>;

/// Iterates over the batches of a plan, which another thread prepares ahead.
///
/// An error takes the place of its batch and ends the iteration. Dropping the loader ends the thread.
pub struct Loader {
    /// `None` once the iteration is over.
    batches: Option<Receiver<Item>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts to load: `plan` lists the indices of the examples of each batch.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        collator: Arc<Collator>,
        plan: Vec<Vec<usize>>,
        epoch: u64,
    ) -> Self {
        let (sender, receiver) = sync_channel(PREFETCHED);
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
    let mut prepared = indices.iter().map(prepare).collect::<Result<Vec<_>>>()?;
    let batch = collator.batch(&prepared, epoch);
    // The batch has them now, and waits for a while.
    for example in &mut prepared {
        example.images.clear();
    }
    Ok((batch, prepared))
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
                let cause = format!("the thread that loads batches panicked: {}", message(&*panic));
                Some(Err(Error::new(ErrorKind::Bug, "loader", cause)))
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, and it ends.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // There is nobody left to report a panic to.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::data::collator::tests::{collator, drawn};
    use crate::data::image::decode::tests::write_image_that_panics;
    use crate::data::{Example, ImageSource};

    /// Ten examples; number 7 cannot be had, and number 8 is a bug.
    #[derive(Default)]
    struct Ten {
        asked: AtomicUsize,
    }

    impl Dataset for Ten {
        fn len(&self) -> usize {
            10
        }

        fn get(&self, i: usize) -> Result<Example> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            match i {
                7 => Err(Error::invalid("seven", "is broken")),
                8 => panic!("eight"),
                _ => Ok(drawn(&i.to_string(), "?", "no", 0)),
            }
        }
    }

    fn load(plan: &[&[usize]]) -> Vec<Result<Vec<String>>> {
        let plan = plan.iter().map(|batch| batch.to_vec()).collect();
        let loader = Loader::new(Arc::new(Ten::default()), Arc::new(collator(9)), plan, 0);
        let ids = |(batch, prepared): (Batch, Vec<PreparedExample>)| {
            assert_eq!(batch.keys.len(), prepared.len());
            prepared.into_iter().map(|p| p.example.id).collect()
        };
        loader.map(|item| item.map(ids)).collect()
    }

    #[test]
    fn batches_come_in_the_plans_order() {
        let plan: [&[usize]; 5] = [&[3, 1], &[0], &[2, 2, 9], &[5], &[6, 4]];
        let got: Vec<_> = load(&plan).into_iter().map(Result::unwrap).collect();
        assert_eq!(got, plan.map(|b| b.iter().map(usize::to_string).collect::<Vec<_>>()));
        assert!(load(&[]).is_empty());
    }

    #[test]
    fn an_error_comes_in_its_place_and_is_the_last() {
        let got = load(&[&[1], &[2], &[3, 7], &[4]]);
        assert_eq!(got.len(), 3);
        assert!(got[..2].iter().all(Result::is_ok));
        assert!(got[2].as_ref().unwrap_err().to_string().contains("seven: is broken"));
    }

    #[test]
    fn a_panic_on_the_thread_is_an_error_not_an_end() {
        let got = load(&[&[1], &[8], &[2]]);
        assert_eq!(got.len(), 2);
        let error = got[1].as_ref().unwrap_err();
        assert!(error.to_string().contains("eight"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }

    /// The decoder's panic is caught where it happens: it is an error of the image's file.
    #[test]
    fn a_decoder_that_panics_is_an_error_of_its_image() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("broken.png");
        write_image_that_panics(&path);
        let mut broken = drawn("broken", "?", "no", 0);
        broken.images = vec![ImageSource::File(path)];
        let examples = vec![drawn("good", "?", "no", 0), broken];
        let plan = vec![vec![0], vec![1]];
        let mut loader = Loader::new(Arc::new(examples), Arc::new(collator(9)), plan, 0);
        assert!(loader.next().unwrap().is_ok());
        let error = loader.next().unwrap().err().unwrap();
        assert!(error.place().ends_with("broken.png"), "{error}");
        assert!(error.cause().contains("on purpose"), "{error}");
        assert!(loader.next().is_none());
    }

    #[test]
    fn dropping_the_loader_ends_the_thread() {
        let dataset = Arc::new(Ten::default());
        let plan = vec![vec![0]; 10_000];
        let mut loader = Loader::new(dataset.clone(), Arc::new(collator(9)), plan, 0);
        assert!(loader.next().is_some());
        drop(loader);
        let asked = dataset.asked.load(Ordering::SeqCst);
        // One was taken, two waited, one was in the making.
        assert!(asked <= 2 + PREFETCHED, "{asked} examples were made ahead");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(dataset.asked.load(Ordering::SeqCst), asked);
        assert_eq!(Arc::strong_count(&dataset), 1);
    }
}
