-- The tables of pgAdmin 9.18's configuration database (schema 52) that matter to pgherald, as
-- its `setup.py setup-db` makes them.

CREATE TABLE version (
    name VARCHAR(32) NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE keys (
    name VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE "user" (
    id INTEGER NOT NULL,
    email VARCHAR(256),
    password VARCHAR,
    active BOOLEAN NOT NULL,
    confirmed_at DATETIME,
    masterpass_check VARCHAR(256),
    username VARCHAR(256) DEFAULT ('') NOT NULL,
    auth_source VARCHAR(256) DEFAULT 'internal' NOT NULL,
    fs_uniquifier VARCHAR NOT NULL, locked BOOLEAN DEFAULT 'false', login_attempts INTEGER DEFAULT '0',
    PRIMARY KEY (id),
    CONSTRAINT user_unique_constraint UNIQUE (username, auth_source)
);
CREATE TABLE servergroup (
    id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    name VARCHAR(128) NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(user_id) REFERENCES "user" (id) ON DELETE CASCADE,
    UNIQUE (user_id, name)
);
CREATE TABLE "server" (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    servergroup_id INTEGER NOT NULL,
    name VARCHAR(128) NOT NULL,
    host VARCHAR(128),
    port INTEGER,
    maintenance_db VARCHAR(64),
    username VARCHAR(64),
    comment VARCHAR(1024),
    password VARCHAR,
    role VARCHAR(64),
    discovery_id VARCHAR,
    db_res VARCHAR,
    bgcolor VARCHAR(10),
    fgcolor VARCHAR(10),
    service VARCHAR,
    use_ssh_tunnel INTEGER DEFAULT '0',
    tunnel_host VARCHAR,
    tunnel_port VARCHAR,
    tunnel_username VARCHAR,
    tunnel_authentication INTEGER DEFAULT '0',
    tunnel_identity_file VARCHAR,
    tunnel_password VARCHAR,
    save_password INTEGER DEFAULT '0',
    shared BOOLEAN,
    kerberos_conn BOOLEAN DEFAULT 'false',
    cloud_status INTEGER DEFAULT '0',
    passexec_cmd VARCHAR,
    passexec_expiration INTEGER,
    connection_params JSON,
    shared_username VARCHAR(64),
    prepare_threshold INTEGER,
    tunnel_keep_alive INTEGER DEFAULT '0',
    tags JSON,
    is_adhoc INTEGER DEFAULT '0', post_connection_sql VARCHAR, db_res_type VARCHAR(32) DEFAULT 'databases', tunnel_prompt_password INTEGER DEFAULT '0',
    FOREIGN KEY(servergroup_id) REFERENCES servergroup (id),
    FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE CASCADE
);
CREATE TABLE "sharedserver" (
    id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    server_owner VARCHAR(64),
    servergroup_id INTEGER NOT NULL,
    name VARCHAR(128) NOT NULL,
    host VARCHAR(128),
    port INTEGER,
    maintenance_db VARCHAR(64),
    username VARCHAR(64),
    password VARCHAR,
    role VARCHAR(64),
    comment VARCHAR(1024),
    discovery_id VARCHAR(128),
    bgcolor VARCHAR(10),
    fgcolor VARCHAR(10),
    service VARCHAR,
    use_ssh_tunnel INTEGER DEFAULT '0',
    tunnel_host VARCHAR,
    tunnel_port VARCHAR,
    tunnel_username VARCHAR,
    tunnel_authentication INTEGER DEFAULT '0',
    tunnel_identity_file VARCHAR,
    shared BOOLEAN NOT NULL,
    save_password INTEGER DEFAULT '0',
    tunnel_password VARCHAR,
    osid INTEGER,
    connection_params JSON,
    prepare_threshold INTEGER,
    tunnel_keep_alive INTEGER DEFAULT '0',
    tunnel_prompt_password INTEGER DEFAULT '0',
    passexec_cmd TEXT,
    passexec_expiration INTEGER,
    kerberos_conn BOOLEAN DEFAULT 0 NOT NULL,
    tags JSON,
    post_connection_sql VARCHAR,
    PRIMARY KEY (id),
    CONSTRAINT uq_sharedserver_osid_user UNIQUE (osid, user_id),
    FOREIGN KEY(servergroup_id) REFERENCES servergroup (id),
    FOREIGN KEY(user_id) REFERENCES user (id) ON DELETE CASCADE
);
CREATE TABLE module_preference (
    id INTEGER NOT NULL,
    name VARCHAR(256) NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE preference_category (
    id INTEGER NOT NULL,
    mid INTEGER,
    name VARCHAR(256) NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(mid) REFERENCES module_preference (id)
);
CREATE TABLE preferences (
    id INTEGER NOT NULL,
    cid INTEGER NOT NULL,
    name VARCHAR(256) NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(cid) REFERENCES preference_category (id)
);
CREATE INDEX ix_server_user_id ON server (user_id);
CREATE INDEX ix_server_servergroup_id ON server (servergroup_id);
CREATE INDEX ix_servergroup_user_id ON servergroup (user_id);
CREATE INDEX ix_sharedserver_user_id ON sharedserver (user_id);
CREATE INDEX ix_sharedserver_osid ON sharedserver (osid);
