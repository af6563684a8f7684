//! How an agent answers: piece by piece, for as long as anybody wants it.
//!
//! [`Agent::answer`](super::Agent::answer) is an ordinary function, and an agent that waits has a thread to wait on. An
//! async variant would save that thread's 20 KB and cost every agent, the script too, a boxed future per turn and the
//! engine a runtime of its own. An agent that is asynchronous inside blocks its thread on its own runtime, and there
//! waits for its next word and for [`Wanted::called_off`] at once.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::AgentAction;
use crate::call::Failure;

/// Where an agent's answer goes.
pub trait Answering {
    /// Does this, in its turn, at once: what is said is on its way to the voice when this returns. `Break` once nobody
    /// wants the turn any more: what was passed on then, and all that follows, reaches nobody. May wait while the call
    /// has much of the answer before it.
    fn act(&mut self, action: AgentAction) -> ControlFlow<()>;

    /// Whether the turn is wanted: to be asked, and to be waited for.
    fn wanted(&self) -> Wanted;
}

/// Keeps all of an answer, for who wants it whole.
impl Answering for Vec<AgentAction> {
    fn act(&mut self, action: AgentAction) -> ControlFlow<()> {
        self.push(action);
        ControlFlow::Continue(())
    }

    fn wanted(&self) -> Wanted {
        Wanted::default()
    }
}

/// Why an agent could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct AgentError {
    /// For the timeline.
    pub why: Failure,
    /// For the log. Holds no secret, and nothing that was said.
    pub detail: String,
}

/// Whether anybody still wants a turn. Clones speak of the same turn. It is called off when the caller took the floor,
/// when the turn turned out to answer only half of what the caller said, and when the call is over.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Arc<Want>);

#[derive(Debug, Default)]
struct Want {
    called_off: AtomicBool,
    waiting: AtomicWaker,
}

impl Wanted {
    /// False once it was called off; then for good.
    pub fn is_wanted(&self) -> bool {
        !self.0.called_off.load(Ordering::Acquire)
    }

    /// Comes when the turn is called off. Of several tasks that wait for the same turn, only the last is woken.
    pub fn called_off(&self) -> impl Future<Output = ()> + Send + use<> {
        CalledOff(self.clone())
    }

    /// Calls it off, for whoever asked.
    pub fn call_off(&self) {
        self.0.called_off.store(true, Ordering::Release);
        self.0.waiting.wake();
    }
}

struct CalledOff(Wanted);

impl Future for CalledOff {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let wanted = &self.0;
        wanted.0.waiting.register(cx.waker());
        // Asked after that: whoever calls off in between finds the waker.
        if wanted.is_wanted() { Poll::Pending } else { Poll::Ready(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Wake, Waker};
    use std::thread::Thread;

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn who_waits_is_woken_when_the_turn_is_called_off() {
        let wanted = Wanted::default();
        let waits = std::thread::spawn({
            let mut called_off = Box::pin(wanted.called_off());
            move || {
                let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
                while called_off.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                    std::thread::park();
                }
            }
        });
        assert!(wanted.is_wanted());
        wanted.call_off();
        waits.join().unwrap();
        assert!(!wanted.is_wanted() && !wanted.clone().is_wanted());
    }

    #[test]
    fn who_comes_after_it_was_called_off_does_not_wait() {
        let wanted = Wanted::default();
        wanted.call_off();
        let called_off = std::pin::pin!(wanted.called_off());
        assert!(called_off.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
