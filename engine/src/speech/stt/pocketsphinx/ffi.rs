//! The dozen C functions of pocketsphinx that a grammar needs, looked up at run time, behind a safe [`Decoder`].
//!
//! Signatures: `pocketsphinx.h`, `pocketsphinx/ps_search.h`, `sphinxbase/cmd_ln.h` and `sphinxbase/err.h` of 0.8+5prealpha,
//! whose libraries carry the version 3 in their names. All `unsafe` of the recogniser stands here.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use libloading::Library;

/// `cmd_ln_t`: a decoder's settings.
type Config = c_void;
/// `ps_decoder_t`.
type RawDecoder = c_void;

/// The two libraries, loaded.
pub(super) struct Api {
    cmd_ln_parse_r:
        unsafe extern "C" fn(*mut Config, *const c_void, i32, *mut *mut c_char, i32) -> *mut Config,
    cmd_ln_free_r: unsafe extern "C" fn(*mut Config) -> c_int,
    ps_args: unsafe extern "C" fn() -> *const c_void,
    ps_init: unsafe extern "C" fn(*mut Config) -> *mut RawDecoder,
    ps_free: unsafe extern "C" fn(*mut RawDecoder) -> c_int,
    ps_add_word: unsafe extern "C" fn(*mut RawDecoder, *const c_char, *const c_char, c_int) -> c_int,
    ps_set_jsgf_string: unsafe extern "C" fn(*mut RawDecoder, *const c_char, *const c_char) -> c_int,
    ps_set_search: unsafe extern "C" fn(*mut RawDecoder, *const c_char) -> c_int,
    ps_start_utt: unsafe extern "C" fn(*mut RawDecoder) -> c_int,
    ps_process_raw: unsafe extern "C" fn(*mut RawDecoder, *const i16, usize, c_int, c_int) -> c_int,
    ps_end_utt: unsafe extern "C" fn(*mut RawDecoder) -> c_int,
    ps_get_hyp: unsafe extern "C" fn(*mut RawDecoder, *mut i32) -> *const c_char,
    // Last, so that they outlive the pointers above: fields are dropped in order.
    _pocketsphinx: Library,
    _sphinxbase: Library,
}

impl Api {
    /// Loads the libraries and silences them: they would write to standard error.
    pub(super) fn load() -> Result<Self, libloading::Error> {
        // SAFETY: both are plain C libraries whose constructors do nothing but set up their own data; the names carry the
        // ABI version that the signatures above were read from.
        let (sphinxbase, pocketsphinx) =
            unsafe { (Library::new("libsphinxbase.so.3")?, Library::new("libpocketsphinx.so.3")?) };

        // SAFETY: `void err_set_callback(err_cb_f, void *)`; without a callback the library logs nothing.
        unsafe {
            let silence: libloading::Symbol<'_, unsafe extern "C" fn(*const c_void, *mut c_void)> =
                sphinxbase.get(c"err_set_callback")?;
            silence(ptr::null(), ptr::null_mut());
            let close: libloading::Symbol<'_, unsafe extern "C" fn(*mut c_void)> =
                sphinxbase.get(c"err_set_logfp")?;
            close(ptr::null_mut());
        }

        // SAFETY: each field's type is the function's signature in the headers named above, and the pointers live no
        // longer than the libraries, which stand in the same struct.
        unsafe {
            Ok(Self {
                cmd_ln_parse_r: *sphinxbase.get(c"cmd_ln_parse_r")?,
                cmd_ln_free_r: *sphinxbase.get(c"cmd_ln_free_r")?,
                ps_args: *pocketsphinx.get(c"ps_args")?,
                ps_init: *pocketsphinx.get(c"ps_init")?,
                ps_free: *pocketsphinx.get(c"ps_free")?,
                ps_add_word: *pocketsphinx.get(c"ps_add_word")?,
                ps_set_jsgf_string: *pocketsphinx.get(c"ps_set_jsgf_string")?,
                ps_set_search: *pocketsphinx.get(c"ps_set_search")?,
                ps_start_utt: *pocketsphinx.get(c"ps_start_utt")?,
                ps_process_raw: *pocketsphinx.get(c"ps_process_raw")?,
                ps_end_utt: *pocketsphinx.get(c"ps_end_utt")?,
                ps_get_hyp: *pocketsphinx.get(c"ps_get_hyp")?,
                _pocketsphinx: pocketsphinx,
                _sphinxbase: sphinxbase,
            })
        }
    }
}

/// One decoder. Not to be used by two utterances at once, which `&mut` sees to.
pub(super) struct Decoder {
    raw: NonNull<RawDecoder>,
    api: Arc<Api>,
    is_listening: bool,
}

// SAFETY: a decoder keeps all its state behind its own pointer, without thread-local data; what decoders share (the mapped
// model files, the silenced log) is not written after `Api::load`. It may move between threads, and `Sync` is not claimed.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Makes a decoder with `settings`, names and values in turn, as on the command line of `pocketsphinx_batch`.
    ///
    /// `None` if it refuses them. The library ends the process if a model file that it opens is damaged.
    pub(super) fn new(api: Arc<Api>, settings: &[CString]) -> Option<Self> {
        let mut values: Vec<*mut c_char> = settings.iter().map(|value| value.as_ptr().cast_mut()).collect();
        let count = i32::try_from(values.len()).ok()?;
        // SAFETY: `ps_args` gives a static table. `cmd_ln_parse_r` makes a new config from it, reads `count` strings that
        // live until it returns, copies what it keeps, and writes to none of them.
        let config =
            unsafe { (api.cmd_ln_parse_r)(ptr::null_mut(), (api.ps_args)(), count, values.as_mut_ptr(), 1) };
        let config = NonNull::new(config)?;
        // SAFETY: `config` is valid; `ps_init` takes its own reference, so ours is given back either way.
        let raw = unsafe {
            let raw = (api.ps_init)(config.as_ptr());
            (api.cmd_ln_free_r)(config.as_ptr());
            raw
        };
        Some(Self { raw: NonNull::new(raw)?, api, is_listening: false })
    }

    /// Adds a word with its phones, separated by spaces. False if a phone is unknown.
    pub(super) fn add_word(&mut self, word: &CStr, phones: &CStr) -> bool {
        self.end();
        // SAFETY: the decoder is valid, and copies both strings.
        unsafe { (self.api.ps_add_word)(self.raw.as_ptr(), word.as_ptr(), phones.as_ptr(), 0) >= 0 }
    }

    /// Listens by the one public rule of a JSGF document from here on, in place of the one before. False if it refuses.
    pub(super) fn set_grammar(&mut self, jsgf: &CStr) -> bool {
        self.end();
        const NAME: &CStr = c"heard";
        // SAFETY: the decoder is valid and between utterances; it copies what it keeps of the strings. The old search of
        // that name is freed by the first call, and the second makes the new one current before anything else may run.
        unsafe {
            (self.api.ps_set_jsgf_string)(self.raw.as_ptr(), NAME.as_ptr(), jsgf.as_ptr()) == 0
                && (self.api.ps_set_search)(self.raw.as_ptr(), NAME.as_ptr()) == 0
        }
    }

    /// Begins an utterance; one must have set a grammar. False if it cannot.
    pub(super) fn start(&mut self) -> bool {
        self.end();
        // SAFETY: the decoder is valid and between utterances.
        self.is_listening = unsafe { (self.api.ps_start_utt)(self.raw.as_ptr()) == 0 };
        self.is_listening
    }

    /// Takes more of the utterance, 16 kHz. Nothing happens outside an utterance.
    pub(super) fn process(&mut self, samples: &[i16]) {
        if self.is_listening {
            // SAFETY: the decoder is valid and in an utterance, and reads `samples.len()` samples before it returns.
            unsafe { (self.api.ps_process_raw)(self.raw.as_ptr(), samples.as_ptr(), samples.len(), 0, 0) };
        }
    }

    /// Ends the utterance, if there is one.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_listening) {
            // SAFETY: the decoder is valid and in an utterance.
            unsafe { (self.api.ps_end_utt)(self.raw.as_ptr()) };
        }
    }

    /// The best words so far of the utterance, or those of the one that ended; empty if there are none.
    pub(super) fn words(&mut self) -> String {
        // SAFETY: the decoder is valid; the score is not asked for. What comes back is null or a string that lives until
        // the decoder's next call, and is copied here.
        unsafe {
            let words = (self.api.ps_get_hyp)(self.raw.as_ptr(), ptr::null_mut());
            if words.is_null() { String::new() } else { CStr::from_ptr(words).to_string_lossy().into_owned() }
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.end();
        // SAFETY: made by `ps_init`, freed once.
        unsafe { (self.api.ps_free)(self.raw.as_ptr()) };
    }
}
