//! Single flight: of those who ask the same at the same time one has the model answer, and the
//! others hear what it says, from the first word on and as it comes.
//!
//! What is said is kept until the flight has ended and nobody hears it any more, so that whoever
//! is slow makes nobody wait. It grows no further than the answer does, which has a limit. No
//! task is spawned: a flight is as much at work as its leader is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::Notify;

use super::CacheKey;

/// All flights of this node, by what they answer.
pub struct Flights<E> {
    open: Arc<Open<E>>,
}

/// Where somebody who asks finds himself.
pub enum Flight<E> {
    /// First: he has the model answer.
    Lead(Leader<E>),
    /// After another, whom he hears. The stream ends with [`Said::Finished`] or
    /// [`Said::Abandoned`], and with nothing else.
    Follow(BoxStream<'static, Said<E>>),
}

/// What those who follow hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<E> {
    Event(E),
    /// The leader has come to a good end.
    Finished,
    /// The leader has gone without one. The next to join leads.
    Abandoned,
}

impl<E> Default for Flights<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Flights<E> {
    #[must_use]
    pub fn new() -> Self {
        let courses = Mutex::default();
        Self {
            open: Arc::new(Open { courses }),
        }
    }
}

impl<E: Clone + Send + Sync + 'static> Flights<E> {
    /// Joins the flight for this key, or begins it.
    #[must_use]
    pub fn join(&self, key: &CacheKey) -> Flight<E> {
        let mut courses = self.open.lock();
        if let Some(course) = courses.get(key) {
            return Flight::Follow(follow(Arc::clone(course)));
        }
        let course = Arc::new(Course::new());
        courses.insert(key.clone(), Arc::clone(&course));
        Flight::Lead(Leader {
            key: key.clone(),
            open: Arc::clone(&self.open),
            course,
            end: End::Abandoned,
        })
    }
}

/// Has the model answer, for himself and for all who follow. Dropped without a word, he leaves
/// them to themselves.
pub struct Leader<E> {
    key: CacheKey,
    open: Arc<Open<E>>,
    course: Arc<Course<E>>,
    /// How it will have ended when this is dropped.
    end: End,
}

impl<E> Leader<E> {
    /// Lets all who follow hear this. Waits for none of them.
    pub fn publish(&self, event: E) {
        self.course.lock().events.push(event);
        self.course.grown.notify_waiters();
    }

    /// Ends well: what was published is the whole of it.
    pub fn finish(mut self) {
        self.end = End::Finished;
    }
}

impl<E> Drop for Leader<E> {
    fn drop(&mut self) {
        // First it is closed and then said to be over: whoever hears the end may join anew, and
        // must not meet it again.
        self.open.lock().remove(&self.key);
        self.course.lock().end = Some(self.end);
        self.course.grown.notify_waiters();
    }
}

/// The flights that may be joined.
struct Open<E> {
    courses: Mutex<HashMap<CacheKey, Arc<Course<E>>>>,
}

impl<E> Open<E> {
    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Course<E>>>> {
        self.courses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has been said in one flight.
struct Course<E> {
    record: Mutex<Record<E>>,
    grown: Notify,
}

struct Record<E> {
    events: Vec<E>,
    end: Option<End>,
}

#[derive(Clone, Copy)]
enum End {
    Finished,
    Abandoned,
}

impl<E> Course<E> {
    fn new() -> Self {
        let record = Record {
            events: Vec::new(),
            end: None,
        };
        Self {
            record: Mutex::new(record),
            grown: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record<E>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Clone> Course<E> {
    /// What comes after the first `heard` events. Waits until there is something.
    async fn after(&self, heard: usize) -> Said<E> {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // Registered before the look, so that what is said in between is not missed.
            grown.as_mut().enable();
            if let Some(said) = self.look_after(heard) {
                return said;
            }
            grown.await;
        }
    }

    fn look_after(&self, heard: usize) -> Option<Said<E>> {
        let record = self.lock();
        if let Some(event) = record.events.get(heard) {
            return Some(Said::Event(event.clone()));
        }
        record.end.map(|end| match end {
            End::Finished => Said::Finished,
            End::Abandoned => Said::Abandoned,
        })
    }
}

fn follow<E: Clone + Send + Sync + 'static>(course: Arc<Course<E>>) -> BoxStream<'static, Said<E>> {
    stream::unfold(Some((course, 0)), |place| async move {
        let (course, heard) = place?;
        let said = course.after(heard).await;
        let next = matches!(said, Said::Event(_)).then_some((course, heard + 1));
        Some((said, next))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::task::Poll;
    use std::time::Duration;

    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;

    const FOLLOWERS: u32 = 50;

    fn key() -> CacheKey {
        CacheKey::of(&"a question")
    }

    fn lead<E: Clone + Send + Sync + 'static>(flights: &Flights<E>) -> Leader<E> {
        match flights.join(&key()) {
            Flight::Lead(leader) => leader,
            Flight::Follow(_) => panic!("another leads"),
        }
    }

    fn follow<E: Clone + Send + Sync + 'static>(
        flights: &Flights<E>,
    ) -> BoxStream<'static, Said<E>> {
        match flights.join(&key()) {
            Flight::Follow(heard) => heard,
            Flight::Lead(_) => panic!("nobody leads"),
        }
    }

    /// What is heard when nothing more is said.
    fn now<E>(heard: &mut BoxStream<'static, Said<E>>) -> Poll<Option<Said<E>>> {
        heard
            .next()
            .now_or_never()
            .map_or(Poll::Pending, Poll::Ready)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_hear_the_same_from_the_first_word_on_whenever_they_join() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let mut hearing = Vec::new();
        for number in 0..FOLLOWERS {
            let heard = follow(&flights);
            hearing.push(tokio::spawn(heard.collect::<Vec<_>>()));
            leader.publish(number);
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        let last = follow(&flights);
        leader.finish();
        let mut expected: Vec<_> = (0..FOLLOWERS).map(Said::Event).collect();
        expected.push(Said::Finished);
        for heard in join_all(hearing).await {
            assert_eq!(heard.unwrap(), expected);
        }
        assert_eq!(last.collect::<Vec<_>>().await, expected);
    }

    #[tokio::test]
    async fn what_is_said_is_heard_as_it_comes() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let mut heard = follow(&flights);
        assert_eq!(now(&mut heard), Poll::Pending);
        leader.publish("one");
        assert_eq!(now(&mut heard), Poll::Ready(Some(Said::Event("one"))));
        assert_eq!(now(&mut heard), Poll::Pending);
        leader.publish("two");
        leader.finish();
        assert_eq!(now(&mut heard), Poll::Ready(Some(Said::Event("two"))));
        assert_eq!(now(&mut heard), Poll::Ready(Some(Said::Finished)));
        assert_eq!(now(&mut heard), Poll::Ready(None));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_next_word() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let heard = tokio::spawn(follow(&flights).collect::<Vec<_>>());
        // It waits by now: there is one thread, and it has run.
        tokio::task::yield_now().await;
        leader.publish(1);
        tokio::task::yield_now().await;
        leader.finish();
        let heard = tokio::time::timeout(Duration::from_secs(10), heard).await;
        assert_eq!(heard.unwrap().unwrap(), [Said::Event(1), Said::Finished]);
    }

    #[tokio::test]
    async fn a_leader_who_goes_without_an_end_leaves_the_lead_to_the_next() {
        let flights = Flights::new();
        let leader = lead(&flights);
        let heard = follow(&flights);
        leader.publish(1);
        drop(leader);
        let second = lead(&flights);
        let behind_second = follow(&flights);
        let heard: Vec<_> = heard.collect().await;
        assert_eq!(heard, [Said::Event(1), Said::Abandoned]);
        second.publish(2);
        second.finish();
        let heard: Vec<_> = behind_second.collect().await;
        assert_eq!(heard, [Said::Event(2), Said::Finished]);
    }

    #[tokio::test]
    async fn a_flight_that_has_ended_is_begun_anew() {
        let flights = Flights::new();
        lead::<u8>(&flights).finish();
        lead(&flights).finish();
        let other = CacheKey::of(&"another question");
        let _first = lead(&flights);
        assert!(matches!(flights.join(&other), Flight::Lead(_)));
    }

    #[tokio::test]
    async fn a_leader_waits_for_nobody_who_hears_slowly_or_has_gone() {
        const MANY: usize = 10_000;
        let flights = Flights::new();
        let leader = lead(&flights);
        let slow = follow(&flights);
        let mut gone = follow(&flights);
        leader.publish(0);
        assert_eq!(now(&mut gone), Poll::Ready(Some(Said::Event(0))));
        drop(gone);
        for number in 1..MANY {
            leader.publish(number);
        }
        leader.finish();
        assert_eq!(slow.count().await, MANY + 1);
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_flight_that_nobody_hears_any_more() {
        let flights = Flights::new();
        let event = Arc::new(());
        let leader = lead(&flights);
        leader.publish(Arc::clone(&event));
        let heard = follow(&flights);
        leader.finish();
        assert!(flights.open.lock().is_empty());
        assert_eq!(Arc::strong_count(&event), 2);
        drop(heard);
        assert_eq!(Arc::strong_count(&event), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_at_once_one_leads() {
        let flights = Arc::new(Flights::new());
        let begin = Arc::new(tokio::sync::Barrier::new(FOLLOWERS as usize));
        let all = (0..FOLLOWERS).map(|number| {
            let (flights, begin) = (Arc::clone(&flights), Arc::clone(&begin));
            tokio::spawn(async move {
                let joined = flights.join(&key());
                begin.wait().await;
                match joined {
                    Flight::Lead(leader) => {
                        leader.publish(number);
                        leader.finish();
                        (true, number)
                    }
                    Flight::Follow(heard) => {
                        let heard: Vec<_> = heard.collect().await;
                        let [Said::Event(number), Said::Finished] = heard[..] else {
                            panic!("{heard:?}");
                        };
                        (false, number)
                    }
                }
            })
        });
        let all: Vec<(bool, u32)> = join_all(all)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(all.iter().filter(|(leads, _)| *leads).count(), 1);
        assert!(all.iter().all(|(_, number)| *number == all[0].1));
    }
}
