//! A session's settings where its functions reach them too: `set_config` sets them, `current_setting` and pg_settings tell
//! them as they are at that moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Settings;
use crate::catalog::pg_catalog::settings::{Handle, SessionSettings, Setting};
use crate::error::Result;

/// Clones are one and the same.
#[derive(Clone, Debug)]
pub(crate) struct SharedSettings(Arc<Mutex<Settings>>);

impl SharedSettings {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(Mutex::new(settings)))
    }

    /// To read or to change; not to be held over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Settings> {
        // what a panic left behind are values that passed their check
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle::new(Arc::new(self.clone()))
    }
}

impl SessionSettings for SharedSettings {
    fn state(&self, setting: &Setting) -> (String, String, &'static str) {
        let settings = self.lock();
        let (source, reset) = settings.origin(setting);
        (settings.kept(setting).to_string(), reset, source)
    }

    fn shown(&self, name: &str) -> Result<String> {
        self.lock().shown(name)
    }

    fn set(&self, name: &str, value: Option<&str>, local: bool) -> Result<String> {
        let mut settings = self.lock();
        settings.set(name, value, local)?;
        settings.shown(name)
    }
}
