//! Workspaces and who is in them.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::lines::Page;
use crate::domain::time::UnixMs;
use crate::domain::workspaces::{Membership, Role, Workspace};

impl Store {
    /// The workspaces that a user is in, in the order in which they were made.
    pub async fn workspaces(&self, user: &str, page: Page) -> Result<Vec<Membership>, StoreError> {
        let user = user.to_owned();
        self.read(move |connection| {
            let (limit, offset) = (page.limit.map_or(-1, i64::from), page.offset);
            connection
                .prepare_cached(
                    "SELECT workspaces.*, workspace_members.role
                     FROM workspace_members JOIN workspaces ON workspaces.id = workspace_members.workspace
                     WHERE workspace_members.user = ?1 ORDER BY workspaces.id LIMIT ?2 OFFSET ?3",
                )?
                .query_map(params![user, limit, offset], membership_from_row)?
                .collect()
        })
        .await
    }

    /// Makes a workspace, whose admin is who makes it.
    pub async fn add_workspace(&self, user: &str, name: &str, at: UnixMs) -> Result<Workspace, StoreError> {
        let (user, name) = (user.to_owned(), name.to_owned());
        let id = Uuid::now_v7().to_string();
        self.change(move |connection| {
            insert(connection, &id, &name, &user, at)?;
            Ok(Workspace { id: id.clone(), name: name.clone(), created: at })
        })
        .await
    }
}

/// A workspace and its admin.
pub(super) fn insert(
    connection: &Connection,
    id: &str,
    name: &str,
    admin: &str,
    at: UnixMs,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO workspaces (id, name, created_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![id, name, at.0])?;
    connection
        .prepare_cached(
            "INSERT INTO workspace_members (workspace, user, role, joined_ms) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![id, admin, Role::Admin.as_str(), at.0])
        .map(drop)
}

/// Has the calls of a user's that begin from now on put into this workspace, if the user is in it; else into none.
pub(super) fn select(connection: &Connection, user: &str, workspace: Option<&str>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE workspace_members SET selected = 0 WHERE user = ?1 AND selected = 1")?
        .execute([user])?;
    connection
        .prepare_cached("UPDATE workspace_members SET selected = 1 WHERE user = ?1 AND workspace = ?2")?
        .execute(params![user, workspace])
        .map(drop)
}

fn membership_from_row(row: &Row<'_>) -> rusqlite::Result<Membership> {
    let role: String = row.get("role")?;
    Ok(Membership {
        workspace: Workspace {
            id: row.get("id")?,
            name: row.get("name")?,
            created: UnixMs(row.get("created_ms")?),
        },
        role: Role::from_text(&role).unwrap_or(Role::Member),
    })
}
