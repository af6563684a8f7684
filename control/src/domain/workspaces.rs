//! Workspaces: places that people share.

use super::time::UnixMs;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Ours: a UUID.
    pub id: String,
    /// As who made it calls it.
    pub name: String,
    /// When it was made.
    pub created: UnixMs,
}

/// What somebody may do in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All.
    Admin,
    /// Be in it.
    Member,
}

impl Role {
    /// As it stands in records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// The reverse of [`Role::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Admin, Self::Member].into_iter().find(|role| role.as_str() == text)
    }
}

/// A workspace, and what somebody is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The workspace.
    pub workspace: Workspace,
    /// Their role.
    pub role: Role,
}
