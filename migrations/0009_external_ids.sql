-- Notifications of ESC's NETCONF stream name a deployment by its external id.
CREATE INDEX deployments_by_external_id ON deployments (external_deployment_id) WHERE external_deployment_id IS NOT NULL;
