//! One call's listening: which stream hears what, and what is left when.

use offhook_engine::call::{Failure, UtteranceId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::grpc::{Connection, Ended, Status};
use super::super::messages::{Output, Response};
use super::hearing::{Hearing, Utterance};
use super::{GoogleEars, is_ordinary};
use crate::integrations::vendor::{Caller, Heard, VendorError};

/// What came on a stream; none at its end.
type Came = Result<Option<Response>, Ended>;

/// A call.
pub(super) struct Session<'a> {
    ears: &'a GoogleEars,
    connection: Option<Connection>,
    /// What hears the caller.
    hearing: Option<Hearing>,
    /// What owes the last words of the utterance before the present one.
    leaving: Option<Hearing>,
    /// An utterance had its final words since one had to go on with another stream.
    may_go_on: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(ears: &'a GoogleEars) -> Self {
        Self { ears, connection: None, hearing: None, leaving: None, may_go_on: true }
    }

    /// Listens until the call is over.
    pub(super) async fn run(
        mut self,
        caller: &mut mpsc::Receiver<Caller>,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), VendorError> {
        // At once, so that who is refused knows it before the caller speaks.
        self.hearing = Some(self.open().await?);
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                came = next(&mut self.leaving) => self.on_last(came, heard)?,
                came = next(&mut self.hearing) => self.on_message(came, heard).await?,
                did = caller.recv() => match did {
                    Some(did) => self.on_caller(did, heard).await?,
                    None => {
                        self.goodbye().await;
                        return Ok(());
                    }
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.on_due().await?,
            }
        }
    }

    /// Opens a stream, on the connection that is there if one is.
    async fn open(&mut self) -> Result<Hearing, VendorError> {
        let kept = self.connection.take().filter(|connection| !connection.is_closed());
        let is_reused = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.ears.method.connect().await?,
        };
        let stream = self.ears.open(&mut connection).await?;
        self.connection = Some(connection);
        Ok(Hearing::new(stream, is_reused))
    }

    async fn on_caller(
        &mut self,
        did: Caller,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), VendorError> {
        match did {
            Caller::Starts(id) => self.on_start(id, heard).await,
            Caller::Audio(ulaw) => {
                let Some(hearing) = &mut self.hearing else { return Ok(()) };
                // It has its final words already.
                let Some(open) = hearing.open.as_mut().filter(|open| !open.has_ended) else { return Ok(()) };
                open.take(&ulaw);
                if hearing.send_whole().await { Ok(()) } else { Err(self.ears.takes_nothing()) }
            }
            Caller::Ends { utterance, .. } => self.on_end(utterance, heard).await,
            Caller::Expected(_) => Ok(()),
        }
    }

    async fn on_start(
        &mut self,
        id: UtteranceId,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), VendorError> {
        let is_used = |hearing: &mut Hearing| hearing.open.is_some() || hearing.closing.is_some();
        if let Some(used) = self.hearing.take_if(is_used)
            && used.open.as_ref().is_some_and(|open| open.has_ended)
            && let Some(mut older) = self.leaving.replace(used)
            && let Some(words) = older.finish()
        {
            // Nobody waits for more of them.
            heard(words);
        }
        let hearing = match self.hearing.take() {
            Some(hearing) => hearing,
            None => self.open().await?,
        };
        self.hearing.insert(hearing).begin(Utterance::new(id));
        Ok(())
    }

    async fn on_end(
        &mut self,
        id: UtteranceId,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), VendorError> {
        let Some(hearing) = &mut self.hearing else { return Ok(()) };
        let Some(open) = hearing.open.as_mut().filter(|open| open.id == id && !open.has_ended) else {
            return Ok(());
        };
        open.has_ended = true;
        if open.is_empty() || open.is_settled() {
            self.finish(heard);
            return Ok(());
        }
        self.send_rest().await
    }

    /// Sends what there is of the utterance, and asks for its last words if it has ended.
    async fn send_rest(&mut self) -> Result<(), VendorError> {
        let Some(hearing) = &mut self.hearing else { return Ok(()) };
        let has_ended = hearing.open.as_ref().is_some_and(|open| open.has_ended);
        let is_taken = if has_ended { hearing.send(1).await } else { hearing.send_whole().await };
        if !is_taken {
            return Err(self.ears.takes_nothing());
        }
        if has_ended {
            hearing.close(self.ears.options.finalize_wait);
        }
        Ok(())
    }

    /// The words so far are the last ones of the utterance.
    fn finish(&mut self, heard: &mut (dyn FnMut(Heard) + Send)) {
        let Some(hearing) = &mut self.hearing else { return };
        if let Some(words) = hearing.finish() {
            self.may_go_on = true;
            heard(words);
        }
    }

    async fn on_message(
        &mut self,
        came: Came,
        heard: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<(), VendorError> {
        let Some(hearing) = &mut self.hearing else { return Ok(()) };
        match results(hearing, came) {
            Ok(Some(results)) => {
                let Some(open) = &mut hearing.open else { return Ok(()) };
                let has_finals = open.hear(&results);
                if open.is_settled() {
                    self.finish(heard);
                    return Ok(());
                }
                if let Some(words) = open.news() {
                    heard(words);
                }
                let is_old = hearing.opened.elapsed() >= self.ears.options.rotate_after;
                if has_finals && is_old && hearing.closing.is_none() { self.rotate().await } else { Ok(()) }
            }
            Ok(None) if hearing.closing.is_some() => {
                self.finish(heard);
                self.hearing = None;
                Ok(())
            }
            Ok(None) => self.on_lost(Ended::Status(OK)).await,
            Err(ended) => self.on_lost(ended).await,
        }
    }

    /// The stream is no more. That is no harm while nobody speaks on it.
    async fn on_lost(&mut self, ended: Ended) -> Result<(), VendorError> {
        let Some(mut hearing) = self.hearing.take() else { return Ok(()) };
        let is_broken = matches!(ended, Ended::Broken { .. });
        let was_dead = hearing.is_reused && matches!(ended, Ended::Broken { before: true, .. });
        if is_broken {
            self.connection = None;
        }
        let is_ordinary = is_ordinary(&ended);
        let error = self.ears.error(ended, hearing.request);
        match hearing.open.take() {
            None if is_ordinary || is_broken || hearing.closing.is_some() => {
                tracing::debug!(%error, "Google ended a stream on which nobody spoke");
                Ok(())
            }
            Some(open) if self.may_go_on && (is_ordinary || was_dead) => {
                tracing::debug!(%error, "the utterance goes on with another stream to Google");
                self.may_go_on = false;
                self.go_on(open).await
            }
            _ => Err(error),
        }
    }

    /// Has a new stream hear the utterance from the end of its last final words on.
    async fn rotate(&mut self) -> Result<(), VendorError> {
        match self.hearing.take().and_then(|mut hearing| hearing.open.take()) {
            Some(open) => self.go_on(open).await,
            None => Ok(()),
        }
    }

    async fn go_on(&mut self, open: Utterance) -> Result<(), VendorError> {
        let hearing = self.open().await?;
        self.hearing.insert(hearing).begin(open);
        self.send_rest().await
    }

    /// What came on the stream that owes the last words of the utterance before.
    fn on_last(&mut self, came: Came, heard: &mut (dyn FnMut(Heard) + Send)) -> Result<(), VendorError> {
        let Some(leaving) = &mut self.leaving else { return Ok(()) };
        let is_over = match results(leaving, came) {
            Ok(results) => {
                let is_settled = |open: &mut Utterance| {
                    open.hear(results.as_deref().unwrap_or_default());
                    open.is_settled()
                };
                results.is_none() || leaving.open.as_mut().is_none_or(is_settled)
            }
            Err(ended) => return Err(self.ears.error(ended, leaving.request)),
        };
        if is_over {
            if let Some(words) = leaving.finish() {
                self.may_go_on = true;
                heard(words);
            }
            self.leaving = None;
        }
        Ok(())
    }

    /// When something is to be done though nothing happens.
    fn due(&self) -> Option<Instant> {
        let options = &self.ears.options;
        let leaving = self.leaving.as_ref().and_then(|leaving| leaving.closing.as_ref());
        let hearing = self.hearing.as_ref().map(|hearing| match (&hearing.closing, &hearing.open) {
            (Some(closing), _) => closing.due,
            (None, Some(_)) => hearing.opened + options.rotate_by,
            (None, None) => (hearing.last_sent + options.idle).min(hearing.opened + options.rotate_after),
        });
        leaving.map(|closing| closing.due).into_iter().chain(hearing).min()
    }

    async fn on_due(&mut self) -> Result<(), VendorError> {
        let (now, options) = (Instant::now(), &self.ears.options);
        let is_due = |hearing: &Hearing| hearing.closing.as_ref().is_some_and(|closing| closing.due <= now);
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| is_due(leaving)) {
            return if leaving.wait_on(options.finalize_wait) { Ok(()) } else { Err(self.silent()) };
        }
        let Some(hearing) = &mut self.hearing else { return Ok(()) };
        match (hearing.closing.is_some(), hearing.open.is_some()) {
            (true, _) if !is_due(hearing) => Ok(()),
            (true, true) if hearing.wait_on(options.finalize_wait) => Ok(()),
            (true, true) => Err(self.silent()),
            // It was told goodbye, and nobody waits for the answer.
            (true, false) => {
                self.hearing = None;
                Ok(())
            }
            (false, false) => {
                hearing.close(options.goodbye);
                Ok(())
            }
            (false, true) if hearing.opened + options.rotate_by <= now => self.rotate().await,
            (false, true) => Ok(()),
        }
    }

    fn silent(&self) -> VendorError {
        let wait_s = self.ears.options.finalize_wait.as_secs_f32();
        VendorError::new(Failure::Slow, format!("no last words within {wait_s} s of the end of the audio"))
    }

    /// Ends the streams, and waits for the other side to do the same.
    async fn goodbye(&mut self) {
        let ending = async {
            for hearing in [&mut self.leaving, &mut self.hearing].into_iter().flatten() {
                hearing.stream.finish();
                while let Ok(Some(_)) = hearing.stream.next::<Response>().await {}
            }
        };
        let _ = timeout(self.ears.options.goodbye, ending).await;
    }
}

const OK: Status = Status { code: 0, message: String::new(), reason: None };

/// The next message of a stream that is there. It may be dropped while it waits.
async fn next(hearing: &mut Option<Hearing>) -> Came {
    match hearing {
        Some(hearing) => hearing.stream.next().await,
        None => std::future::pending().await,
    }
}

/// The results of a message; none at the end of the stream.
fn results(hearing: &mut Hearing, came: Came) -> Result<Option<Vec<Output>>, Ended> {
    let Some(response) = came? else { return Ok(None) };
    if response.request_id != 0 && response.request_id != hearing.request {
        hearing.request = response.request_id;
        tracing::debug!(request = hearing.request, "Google listens");
    }
    match response.error {
        None => Ok(Some(response.results)),
        Some(error) => {
            let reason = error.reason();
            Err(Ended::Status(Status { code: error.code, message: error.message, reason }))
        }
    }
}
